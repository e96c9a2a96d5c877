"""Damages a file in one of the ways that cables, disks, editors and attackers do; the same seed
does the same.
"""

import io
import json
import os
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c

from bct_keras.data.records import LENGTH, masked

NUMBERS = (
    0,
    1,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
WORDS = (
    b"",
    b"-1",
    b"0",
    b"1e400",
    b"nan",
    b"inf",
    b"9" * 30,
    b"9" * 5000,
    b"\x1b[2J",
    b"\xff\xfe",
    b"\0",
    b"../../x",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**63,
    10**30,
    1e308,
    float("nan"),
    "",
    "x",
    "\x1b[31m\n",
    [],
    {},
    [[1]],
)
Damage = Callable[[bytes, random.Random], bytes]


def span(content: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(content) + 1)
    return start, min(start + chance.choice((1, 2, 4, 16, 256, 4096)), len(content))


def cut_off(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def bits_flipped(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 3, 30))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def replaced(content: bytes, chance: random.Random) -> bytes:
    start, end = span(content, chance)
    return (
        content[:start]
        + chance.choice((bytes(end - start), chance.randbytes(end - start)))
        + content[end:]
    )


def left_out(content: bytes, chance: random.Random) -> bytes:
    start, end = span(content, chance)
    return content[:start] + content[end:]


def doubled(content: bytes, chance: random.Random) -> bytes:
    start, end = span(content, chance)
    return content[:end] + content[start:end] * chance.choice((1, 1, 100)) + content[end:]


def inserted(content: bytes, chance: random.Random) -> bytes:
    start, _ = span(content, chance)
    return content[:start] + chance.choice((*WORDS, chance.randbytes(8))) + content[start:]


def swapped(content: bytes, chance: random.Random) -> bytes:
    (first, end), (second, other) = sorted([span(content, chance), span(content, chance)])
    end, other = min(end, second), max(other, second)
    return (
        content[:first]
        + content[second:other]
        + content[end:second]
        + content[first:end]
        + content[other:]
    )


def number_inflated(content: bytes, chance: random.Random) -> bytes:
    form = struct.Struct(chance.choice(("<H", "<I", "<Q", ">H", ">I", ">Q")))
    place = chance.randrange(max(len(content) - form.size, 0) + 1)
    value = chance.choice(NUMBERS) & ((1 << 8 * form.size) - 1)
    return content[:place] + form.pack(value) + content[place + form.size :]


def emptied(content: bytes, chance: random.Random) -> bytes:
    return chance.choice((b"", b"\0", b"\n", content[:1]))


def of_another_kind(content: bytes, chance: random.Random) -> bytes:
    starts = (
        b"PK\x03\x04",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"\x89HDF\r\n\x1a\n",
        b"\x80\x05",
        b"{",
        b"<html>",
    )
    return chance.choice(starts) + chance.randbytes(chance.randrange(2000))


ANY: tuple[Damage, ...] = (
    cut_off,
    bits_flipped,
    replaced,
    left_out,
    doubled,
    inserted,
    swapped,
    number_inflated,
)
RARE: tuple[Damage, ...] = (emptied, of_another_kind)


def of_bytes(content: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        content = chance.choice(ANY if content and chance.random() < 0.95 else RARE)(
            content, chance
        )
    return content


def of_text(content: bytes, chance: random.Random) -> bytes:
    """Exchanges words and lines, or damages it as bytes."""
    if chance.random() < 0.3:
        return of_bytes(content, chance)
    lines = content.splitlines() or [b""]
    row = chance.randrange(len(lines))
    words = lines[row].split()
    if chance.random() < 0.7 and words:
        words[chance.randrange(len(words))] = chance.choice(WORDS)
        lines[row] = b" ".join(words)
    else:
        lines.insert(row, chance.choice((b"", lines[-1], b"\t".join(WORDS))))
    return b"\n".join(lines)


def of_json(content: bytes, chance: random.Random) -> bytes:
    """Exchanges a value for one of another type, takes a key away, or nests it deep, or damages it
    as text.
    """
    if chance.random() < 0.35:
        return of_text(content, chance)
    try:
        tree = json.loads(content)
    except ValueError:  # several lines of it
        return of_text(content, chance)
    places = list(places_of(tree))
    if not places:
        return of_text(content, chance)
    holder, key = chance.choice(places)
    kind = chance.random()
    if kind < 0.2:
        del holder[key]
    elif kind < 0.9:
        holder[key] = chance.choice(VALUES)
    else:
        holder[key] = "@"
        depth = chance.choice((50, 900, 100_000))
        deep = chance.choice(
            ("[" * depth + "]" * depth, '{"a":' * depth + "0" + "}" * depth, "1e400", "9" * 5000)
        )
        return json.dumps(tree).replace('"@"', deep).encode()
    return json.dumps(tree).encode()


def places_of(tree: Any):
    for key, value in (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    ):
        yield tree, key
        yield from places_of(value)


def of_archive(content: bytes, chance: random.Random) -> bytes:
    """Damages one member and packs it again, so that its checksum holds, or damages the archive as
    bytes.
    """
    if chance.random() < 0.4:
        return of_bytes(content, chance)
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as before,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as after,
    ):
        chosen = chance.choice(before.namelist())
        for name in before.namelist():
            member = before.read(name)
            if name == chosen:
                member = (
                    of_json(member, chance) if name.endswith(".json") else of_member(member, chance)
                )
            if name != chosen or chance.random() > 0.1:
                after.writestr(name, member)
    return packed.getvalue()


def of_member(content: bytes, chance: random.Random) -> bytes:
    """An array's header is what decides how much is read: so it is hit as often as all that comes
    after it.
    """
    header = 128 if content.startswith(b"\x93NUMPY") and chance.random() < 0.6 else len(content)
    if header == 128 and chance.random() < 0.3:
        words = (
            b"|O",
            b"<c16",
            b"<M8[s]",
            b"<U999999",
            b"<f2",
            b"(9999999999,)",
            b"(-1,)",
            b"(((((((((((((",
            b"True",
        )
        start, end = sorted((chance.randrange(10, 128), chance.randrange(10, 128)))
        return (
            content[:start] + chance.choice(words)[: end - start].ljust(end - start) + content[end:]
        )
    return of_bytes(content[:header], chance) + content[header:]


def of_table(content: bytes, chance: random.Random) -> bytes:
    """Changes a few bytes of the rows and leaves the header, or damages it as any array."""
    (length,) = struct.unpack_from("<H", content, 8)  # of an array's header
    start = 10 + length
    if chance.random() < 0.4:
        return of_member(content, chance)
    rows = bytearray(content)
    for _ in range(chance.choice((1, 1, 4, 40))):
        place = chance.randrange(start, len(rows))
        rows[place] = chance.choice((0, 1, 0x2E, 0x2F, 0x61, 0x7F, 0x80, 0xFF, rows[place] ^ 1))
    return bytes(rows)


def of_shard(content: bytes, chance: random.Random) -> bytes:
    """Damages one record and gives it checksums that hold, or damages the shard as bytes."""
    if chance.random() < 0.4:
        return of_bytes(content, chance)
    records, start = [], 0
    while start < len(content):
        (length,) = LENGTH.unpack_from(content, start)
        records.append(content[start + 12 : start + 12 + length])
        start += 16 + length
    row = chance.randrange(len(records))
    head = 200 if chance.random() < 0.7 else len(records[row])  # before the image
    records[row] = of_bytes(records[row][:head], chance) + records[row][head:]
    frames = []
    for record in records:
        length = LENGTH.pack(len(record))
        frames += [
            length,
            masked(google_crc32c.value(length)),
            record,
            masked(google_crc32c.value(record)),
        ]
    return b"".join(frames)


def place(path: Path, content: bytes, damage: Damage, chance: random.Random) -> str:
    """Puts something else in a file's place; returns in a word what it is."""
    kind = chance.random()
    path.unlink(missing_ok=True)
    if kind < 0.01:
        os.mkfifo(path)
        return "a pipe"
    if kind < 0.02:
        path.symlink_to("/dev/zero")
        return "a device"
    if kind < 0.03:
        path.mkdir()
        return "a folder"
    path.write_bytes(damage(content, chance))
    return "damaged"
