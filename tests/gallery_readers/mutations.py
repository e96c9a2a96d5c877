"""Damages gallery files, most of them so that every checksum still holds."""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from bct_keras.gallery import blocks, layout

ODD_NUMBERS = (0, 1, 2, 3, 5, 7, 64, 127, 128, 255, 2**16 - 1, 2**31, 2**32 - 1)


@dataclass
class Parts:
    """A file taken apart."""

    version: int
    blocks: list[tuple[bytes, int, bytearray]]  # kind, rows, payload

    @classmethod
    def of(cls, whole: bytes) -> "Parts":
        """Returns the parts of a good file."""
        _, version, _ = blocks.HEADER.unpack(whole[: blocks.HEADER.size])
        end, _ = blocks.COMMIT.unpack(
            whole[layout.HEAD_BYTES : layout.HEAD_BYTES + blocks.COMMIT.size]
        )
        found, position = [], layout.FIRST_BLOCK
        while position < end:
            head = whole[position : position + blocks.BLOCK.size]
            kind, rows, length, _ = blocks.BLOCK.unpack(head)
            position += layout.HEAD_BYTES
            found.append((kind, rows, bytearray(whole[position : position + length])))
            position += length
        return cls(version, found)

    def joined(self) -> bytes:
        """Returns a file of which every checksum holds."""
        written = []
        for kind, rows, payload in self.blocks:
            written += blocks.encode(kind, rows, bytes(payload))
        content = b"".join(written)
        header = blocks.sealed(blocks.HEADER.pack(layout.MAGIC, self.version, 8))
        commit = blocks.sealed(blocks.COMMIT.pack(layout.FIRST_BLOCK + len(content), 3))
        return header + commit + content


def mutated(goods: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Yields damaged copies of good files."""
    draw = random.Random(seed)
    for _ in range(count):
        good = draw.choice(goods)
        if draw.random() < 0.2:
            yield flipped(good, draw)
            continue
        parts = Parts.of(good)
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            if parts.blocks:
                draw.choice((change_byte, change_byte, change_number, change_rows, move_block))(
                    parts, draw
                )
        yield parts.joined()


def flipped(good: bytes, draw: random.Random) -> bytes:
    """Returns a file of which some bits are others, or the end is missing."""
    changed = bytearray(good)
    for _ in range(draw.choice((1, 1, 3))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    if draw.random() < 0.2:
        del changed[draw.randrange(len(changed)) :]
    return bytes(changed)


def change_byte(parts: Parts, draw: random.Random) -> None:
    """Writes another byte into a payload; into text often one that means something."""
    kind, _, payload = draw.choice(parts.blocks)
    if not payload:
        return
    place = draw.randrange(len(payload))
    if kind in (layout.ENCODER, layout.COMPATIBLE) and draw.random() < 0.7:
        payload[place] = draw.choice(b'{}[]",:0123456789.eE+-\\untrfNI \0\x1f\xc3')
    else:
        payload[place] = draw.randrange(256)


def change_number(parts: Parts, draw: random.Random) -> None:
    """Writes another number of 4 bytes into a payload, near its beginning most of the time."""
    _, _, payload = draw.choice(parts.blocks)
    if len(payload) < 8:
        return
    limit = min(len(payload), draw.choice((16, 128, 1 << 20)))
    struct.pack_into("<I", payload, draw.randrange(limit // 4) * 4, draw.choice(ODD_NUMBERS))


def change_rows(parts: Parts, draw: random.Random) -> None:
    """Says another number of rows, or another kind."""
    place = draw.randrange(len(parts.blocks))
    kind, rows, payload = parts.blocks[place]
    if draw.random() < 0.5:
        rows = draw.choice((*ODD_NUMBERS, rows - 1 if rows else 0, rows + 1))
    else:
        kind = draw.choice([each.kind for each in layout.KINDS])
    parts.blocks[place] = (kind, rows, payload)


def move_block(parts: Parts, draw: random.Random) -> None:
    """Leaves a block out, writes it twice, or puts it elsewhere."""
    place = draw.randrange(len(parts.blocks))
    kind, rows, payload = parts.blocks[place]
    if draw.random() < 0.6:
        del parts.blocks[place]
    if draw.random() < 0.7:
        again = draw.randrange(len(parts.blocks) + 1)
        parts.blocks.insert(again, (kind, rows, bytearray(payload)))
