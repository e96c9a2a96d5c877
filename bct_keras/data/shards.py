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
READ_AT_ONCE = 1 << 18
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


def stored_records(path: Path, position: int = 0) -> Iterator[Stored | BadImageError]:
    """Every record from there on whose checksums are right, and an error for each that is damaged."""
    with path.open("rb", buffering=READ_AT_ONCE) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(position)
        while position < size:
            head = file.read(FRAME_START)
            length = LENGTH.unpack_from(head)[0] if len(head) == FRAME_START else 0
            if len(head) < FRAME_START or masked(google_crc32c.value(head[: LENGTH.size])) != head[LENGTH.size :]:
                yield bad(path, position, f"its length is damaged; bytes {position} to {size} cannot be read")
                return
            if length + CHECKSUM.size > size - position - FRAME_START:
                yield bad(path, position, f"the shard ends at byte {size}, inside the record")
                return
            yield stored_record(path, position, file.read(length), file.read(CHECKSUM.size))
            position += FRAME_START + length + CHECKSUM.size


def stored_at(path: Path, position: int) -> Stored:
    stored = next(stored_records(path, position))
    if isinstance(stored, BadImageError):
        raise stored
    return stored


def stored_record(path: Path, position: int, example: bytes, checksum: bytes) -> Stored | BadImageError:
    if masked(google_crc32c.value(example)) != checksum:
        return bad(path, position, "its checksum is wrong")
    found = parsed(example, position)
    return found or bad(path, position, "it is not one of image, label and id")


def parsed(example: bytes, position: int) -> Stored | None:
    before_id = BEFORE_ID.match(example)
    if before_id is None:
        return None
    id_end = before_id.end() + varint_value(before_id[1])
    before_image = BEFORE_IMAGE.match(example, id_end)
    if before_image is None:
        return None
    image_end = before_image.end() + varint_value(before_image[1])
    label = LABEL.fullmatch(example, image_end)
    if label is None:
        return None
    name = example[before_id.end() : id_end].decode("utf-8", "replace")
    return Stored(position, name, varint_value(label[1]), example[before_image.end() : image_end])


def varint_value(encoded: bytes) -> int:
    if len(encoded) == 1:
        return encoded[0]
    value = 0
    for shift, byte in enumerate(encoded):
        value |= (byte & 0x7F) << 7 * shift
    return value


def bad(path: Path, position: int, reason: str) -> BadImageError:
    return BadImageError(f"{path}, record at byte {position}: {reason}")
