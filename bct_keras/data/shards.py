"""The files that a data set's manifest names, and the records in them, read without TensorFlow."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c

from bct_keras import artefacts
from bct_keras.data.records import CHECKSUM, LENGTH, masked
from bct_keras.errors import BadImageError, InputError
from bct_keras.untrusted.json_files import field
from bct_keras.untrusted.reading import opened

# A view lies in a folder of the data set whose shards it names; a manifest may not point anywhere else.
SHARD_PATH = re.compile(r"(\.\./)?shards/[A-Za-z0-9][A-Za-z0-9._-]*\.tfrecord")
READ_AT_ONCE = 1 << 19
FRAME_START = LENGTH.size + CHECKSUM.size
SMALLEST_RECORD = FRAME_START + CHECKSUM.size

# The messages of `records.encode_record` up to the value of each field, whose length is the group.
VARINT = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
BEFORE_ID = re.compile(rb"\x0a%b\x0a%b\x0a\x02id\x12%b\x0a%b\x0a(%b)" % ((VARINT,) * 5), re.DOTALL)
BEFORE_IMAGE = re.compile(rb"\x0a%b\x0a\x05image\x12%b\x0a%b\x0a(%b)" % ((VARINT,) * 4), re.DOTALL)
LABEL = re.compile(rb"\x0a%b\x0a\x05label\x12%b\x1a%b\x0a%b(%b)" % ((VARINT,) * 5), re.DOTALL)


@dataclass(frozen=True)
class Shard:
    path: Path
    records: int
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        return self.path.stem

    def check_size(self) -> None:
        if not self.path.is_file():
            raise InputError(f"{self.path}: this shard is missing; remove the data set and run prepare again")
        size = self.path.stat().st_size
        if size != self.bytes:
            raise InputError(
                f"{self.path}: this shard has {size} bytes and its manifest says {self.bytes}: it was cut off or "
                "changed; remove the data set and run prepare again"
            )

    def check_content(self) -> None:
        if artefacts.file_sha256(self.path) != self.sha256:
            raise InputError(
                f"{self.path}: this shard is not what its manifest says (sha256); "
                "remove the data set and run prepare again"
            )


def shards_of(folder: Path, manifest: dict[str, Any]) -> tuple[Shard, ...]:
    """Returns the shards that a data set's manifest names."""
    path, found = folder / artefacts.MANIFEST, []
    for place, entry in enumerate(field(manifest, "shards", list, path), 1):
        where = f"{path}, shard {place}"
        name, size = field(entry, "path", str, where), field(entry, "bytes", int, where)
        if not SHARD_PATH.fullmatch(name):
            raise InputError(f"{path} names a shard outside the data set: {name!r}")
        records = field(entry, "records", int, where)
        if not 0 < records * SMALLEST_RECORD <= size:
            raise InputError(f"{where}: {records:,} records cannot lie in {size:,} bytes")
        found.append(Shard(folder / name, records, size, field(entry, "sha256", str, where)))
    if len({shard.path for shard in found}) < len(found) or not found:
        raise InputError(f"{path} names no shard, or one of them twice")
    return tuple(found)


class Stored(NamedTuple):
    offset: int  # byte of the shard
    id: str
    label: int
    image: bytes


def stored_records(path: Path, position: int = 0, digest: Any = None) -> Iterator[Stored | BadImageError]:
    """Every record from there on, and an error for each that is damaged.

    `digest` takes all that is read, in place of a look at each record's checksums: by it one can tell afterwards
    whether the shard is as it was made. Where it is not, what was found means nothing.
    """
    with opened(path) as file:
        size, taken = file.seek(0, os.SEEK_END), position
        window, start = b"", 0
        while position < size:
            if len(window) < start + FRAME_START:
                window, start = os.pread(file.fileno(), READ_AT_ONCE, position), 0
                taken = take(digest, window, position, taken)
            length = frame_length(window, start, digest is not None)
            if length is None:
                yield bad(path, position, f"its length is damaged; bytes {position} to {size} cannot be read")
                return
            if length + CHECKSUM.size > size - position - FRAME_START:
                yield bad(path, position, f"the shard ends at byte {size}, inside the record")
                return
            frame = FRAME_START + length + CHECKSUM.size
            if len(window) < start + frame:
                window, start = os.pread(file.fileno(), max(frame, READ_AT_ONCE), position), 0
                taken = take(digest, window, position, taken)
            first, end = start + FRAME_START, start + FRAME_START + length
            if digest is None and masked(google_crc32c.value(window[first:end])) != window[end : end + CHECKSUM.size]:
                yield bad(path, position, "its checksum is wrong")
            else:
                yield parsed(window, first, end, position) or bad(
                    path, position, "it is not one of image, label and id"
                )
            position += frame
            start += frame


def take(digest: Any, window: bytes, position: int, taken: int) -> int:
    """What of the window, read at that position, is new since the byte `taken`; how far it is taken then."""
    if digest is not None:
        digest.update(memoryview(window)[taken - position :])
    return position + len(window)


def frame_length(window: bytes, start: int, trusted: bool) -> int | None:
    if len(window) < start + FRAME_START:
        return None
    (length,) = LENGTH.unpack_from(window, start)
    if not trusted:
        checksum = masked(google_crc32c.value(window[start : start + LENGTH.size]))
        if checksum != window[start + LENGTH.size : start + FRAME_START]:
            return None
    return length


def stored_at(path: Path, position: int) -> Stored:
    stored = next(stored_records(path, position))
    if isinstance(stored, BadImageError):
        raise stored
    return stored


def parsed(window: bytes, start: int, stop: int, position: int) -> Stored | None:
    """The record whose message lies at start to stop of the window."""
    before_id = BEFORE_ID.match(window, start, stop)
    if before_id is None:
        return None
    id_start = before_id.end()
    id_end = id_start + varint_value(before_id[1])
    # A length that was damaged may be larger than any place that a pattern can be looked for at.
    before_image = BEFORE_IMAGE.match(window, id_end, stop) if id_end < stop else None
    if before_image is None:
        return None
    image_start = before_image.end()
    image_end = image_start + varint_value(before_image[1])
    label = LABEL.fullmatch(window, image_end, stop) if image_end < stop else None
    if label is None:
        return None
    name = window[id_start:id_end].decode("utf-8", "backslashreplace")
    return Stored(position, name, varint_value(label[1]), window[image_start:image_end])


def varint_value(encoded: bytes) -> int:
    if len(encoded) == 1:
        return encoded[0]
    if len(encoded) == 2:
        return encoded[0] & 0x7F | encoded[1] << 7
    value = 0
    for shift, byte in enumerate(encoded):
        value |= (byte & 0x7F) << 7 * shift
    return value


def bad(path: Path, position: int, reason: str) -> BadImageError:
    return BadImageError(f"{path}, record at byte {position}: {reason}")
