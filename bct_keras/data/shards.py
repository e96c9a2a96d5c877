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

# A view lies in a folder of the data set whose shards it names; a manifest may not point anywhere else.
SHARD_PATH = re.compile(r"(\.\./)?shards/[A-Za-z0-9][A-Za-z0-9._-]*\.tfrecord")
READ_AT_ONCE = 1 << 19
FRAME_START = LENGTH.size + CHECKSUM.size

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


def shard_of(folder: Path, entry: dict[str, Any]) -> Shard:
    if not SHARD_PATH.fullmatch(entry["path"]):
        raise InputError(f"{folder / artefacts.MANIFEST} names a shard outside the data set: {entry['path']!r}")
    return Shard(folder / entry["path"], int(entry["records"]), int(entry["bytes"]), str(entry["sha256"]))


class Stored(NamedTuple):
    offset: int  # byte of the shard
    id: str
    label: int
    image: bytes


def stored_records(path: Path, position: int = 0, trusted: bool = False) -> Iterator[Stored | BadImageError]:
    """Every record from there on, and an error for each that is damaged.

    `trusted`: the file's hash is known to be right, so the checksums of its records need not be looked at.
    """
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        window, start = b"", 0
        while position < size:
            if len(window) < start + FRAME_START:
                window, start = os.pread(file.fileno(), READ_AT_ONCE, position), 0
            length = frame_length(window, start, trusted)
            if length is None:
                yield bad(path, position, f"its length is damaged; bytes {position} to {size} cannot be read")
                return
            if length + CHECKSUM.size > size - position - FRAME_START:
                yield bad(path, position, f"the shard ends at byte {size}, inside the record")
                return
            frame = FRAME_START + length + CHECKSUM.size
            if len(window) < start + frame:
                window, start = os.pread(file.fileno(), max(frame, READ_AT_ONCE), position), 0
            yield stored_record(path, position, window, start + FRAME_START, start + FRAME_START + length, trusted)
            position += frame
            start += frame


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


def stored_record(
    path: Path, position: int, window: bytes, start: int, stop: int, trusted: bool
) -> Stored | BadImageError:
    """The record whose message lies at start to stop of the window."""
    if not trusted and masked(google_crc32c.value(window[start:stop])) != window[stop : stop + CHECKSUM.size]:
        return bad(path, position, "its checksum is wrong")
    found = parsed(window, start, stop, position)
    return found or bad(path, position, "it is not one of image, label and id")


def parsed(window: bytes, start: int, stop: int, position: int) -> Stored | None:
    before_id = BEFORE_ID.match(window, start, stop)
    if before_id is None:
        return None
    id_end = before_id.end() + varint_value(before_id[1])
    before_image = BEFORE_IMAGE.match(window, id_end, stop)
    if before_image is None:
        return None
    image_end = before_image.end() + varint_value(before_image[1])
    label = LABEL.fullmatch(window, image_end, stop)
    if label is None:
        return None
    name = window[before_id.end() : id_end].decode("utf-8", "replace")
    return Stored(position, name, varint_value(label[1]), window[before_image.end() : image_end])


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
