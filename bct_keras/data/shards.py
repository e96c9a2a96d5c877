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

# A view lies in a folder of the data set whose shards it names; a manifest may not point anywhere
# else.
SHARD_PATH = re.compile(r"(\.\./)?shards/[A-Za-z0-9][A-Za-z0-9._-]*\.tfrecord")
READ_AT_ONCE = 1 << 19
FRAME_START = LENGTH.size + CHECKSUM.size
SMALLEST_RECORD = FRAME_START + CHECKSUM.size

# Tags of the fields that `records.encode_record` writes, in protobuf's own numbers (field << 3 |
# 2).
FEATURES = ENTRY = KEY = BYTES_LIST = VALUES = 0x0A  # field 1, with a length
FEATURE = 0x12  # field 2, of a map's entry
INT64_LIST = 0x1A  # field 3, of tf.train.Feature
LONGEST_VARINT = 10  # bytes


@dataclass(frozen=True)
class Shard:
    """A TFRecord file, and what the manifest says of it."""

    path: Path
    records: int
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """Returns the file's name without its ending."""
        return self.path.stem

    def check_size(self) -> None:
        """Raises where the file is missing or has another size."""
        if not self.path.is_file():
            raise InputError(
                f"{self.path}: this shard is missing; remove the data set and run prepare again"
            )
        size = self.path.stat().st_size
        if size != self.bytes:
            raise InputError(
                f"{self.path}: this shard has {size} bytes and its manifest says {self.bytes}: it"
                " was cut off or changed; remove the data set and run prepare again"
            )

    def check_content(self) -> None:
        """Raises where the file holds anything else than it was made with."""
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
    """A record as it is stored."""

    offset: int  # byte of the shard
    id: str
    label: int
    image: bytes


def stored_records(
    path: Path, position: int = 0, digest: Any = None
) -> Iterator[Stored | BadImageError]:
    """Yields every record from there on, and an error for each that is damaged.

    `digest` takes all that is read, in place of a look at each record's checksums: by it one can
    tell afterwards whether the shard is as it was made. Where it is not, what was found means
    nothing.
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
                yield bad(
                    path,
                    position,
                    f"its length is damaged; bytes {position} to {size} cannot be read",
                )
                return
            if length + CHECKSUM.size > size - position - FRAME_START:
                yield bad(path, position, f"the shard ends at byte {size}, inside the record")
                return
            frame = FRAME_START + length + CHECKSUM.size
            if len(window) < start + frame:
                window, start = os.pread(file.fileno(), max(frame, READ_AT_ONCE), position), 0
                taken = take(digest, window, position, taken)
            first, end = start + FRAME_START, start + FRAME_START + length
            if (
                digest is None
                and masked(google_crc32c.value(window[first:end]))
                != window[end : end + CHECKSUM.size]
            ):
                yield bad(path, position, "its checksum is wrong")
            else:
                yield parsed(window, first, end, position) or bad(
                    path, position, "it is not one of image, label and id"
                )
            position += frame
            start += frame


def take(digest: Any, window: bytes, position: int, taken: int) -> int:
    """Gives `digest` the part of the window after byte `taken`; returns how far it is taken then.

    The window was read at `position`.
    """
    if digest is not None:
        digest.update(memoryview(window)[taken - position :])
    return position + len(window)


def frame_length(window: bytes, start: int, trusted: bool) -> int | None:
    """Returns the length of the record that begins there; None where it is damaged."""
    if len(window) < start + FRAME_START:
        return None
    (length,) = LENGTH.unpack_from(window, start)
    if not trusted:
        checksum = masked(google_crc32c.value(window[start : start + LENGTH.size]))
        if checksum != window[start + LENGTH.size : start + FRAME_START]:
            return None
    return length


def stored_at(path: Path, position: int) -> Stored:
    """Returns the record that begins at this byte; raises where it is damaged."""
    stored = next(stored_records(path, position))
    if isinstance(stored, BadImageError):
        raise stored
    return stored


def parsed(window: bytes, start: int, stop: int, position: int) -> Stored | None:
    """Returns the record whose tf.train.Example lies at start to stop of the window; None for any
    other message.

    The example is one of `records.encode_record`: three features in the order of their keys. Of
    what is read each piece begins where the one before ends, so all lie within where the last one
    does.
    """
    try:
        _, place = inside(window, start, (FEATURES,))
        id_start, id_end = feature(window, place, b"id", BYTES_LIST)
        image_start, image_end = feature(window, id_end, b"image", BYTES_LIST)
        label_start, _ = feature(window, image_end, b"label", INT64_LIST)
        label, end = varint(window, label_start)
    except (IndexError, UnexpectedError):
        return None
    if end != stop:
        return None
    name = window[id_start:id_end].decode("utf-8", "backslashreplace")
    return Stored(position, name, label, window[image_start:image_end])


class UnexpectedError(Exception):
    """A message that is not one of ours."""


def feature(window: bytes, place: int, key: bytes, kind: int) -> tuple[int, int]:
    """Returns where the values of the map's entry with this key begin and end."""
    length, start = inside(window, place, (ENTRY, KEY))
    if window[start : start + length] != key:
        raise UnexpectedError
    length, start = inside(window, start + length, (FEATURE, kind, VALUES))
    return start, start + length


def inside(window: bytes, place: int, tags: tuple[int, ...]) -> tuple[int, int]:
    """Goes into one message after another; returns the length of the innermost, and where it
    begins.
    """
    length = 0
    for tag in tags:
        if window[place] != tag:
            raise UnexpectedError
        length, after = window[place + 1], window[place + 2]
        if length < 0x80:
            place += 2
        elif after < 0x80:  # most images: two bytes, without a call
            length, place = length & 0x7F | after << 7, place + 3
        else:
            length, place = varint(window, place + 1)
    return length, place


def varint(window: bytes, place: int) -> tuple[int, int]:
    """Returns the number that begins there, seven bits a byte with the lowest first, and where it
    ends.
    """
    value = 0
    for index in range(LONGEST_VARINT):
        byte = window[place + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, place + index + 1
    raise UnexpectedError


def bad(path: Path, position: int, reason: str) -> BadImageError:
    """Returns the error that names a record by its place."""
    return BadImageError(f"{path}, record at byte {position}: {reason}")
