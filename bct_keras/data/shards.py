"""The files of a data set, and the records in them, read without TensorFlow."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c

from bct_keras import artefacts, progress, stores
from bct_keras.data.records import CHECKSUM, LENGTH, masked
from bct_keras.errors import BadImageError, InputError
from bct_keras.untrusted.reading import opened

READ_AT_ONCE = 1 << 19
FETCHED_AT_ONCE = 8
FRAME_START = LENGTH.size + CHECKSUM.size
SMALLEST_RECORD = FRAME_START + CHECKSUM.size

# Tags of the fields that `records.encode_record` writes, in protobuf's numbers: field << 3 | 2.
FEATURES = ENTRY = KEY = BYTES_LIST = VALUES = 0x0A  # field 1, with a length
FEATURE = 0x12  # field 2, of a map's entry
INT64_LIST = 0x1A  # field 3, of tf.train.Feature
LONGEST_VARINT = 10  # bytes


@dataclass(frozen=True, slots=True)
class Shard:
    """A TFRecord file, and what the manifest says of it."""

    path: Path
    records: int
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @property
    def here(self) -> Path:
        """The file on this machine, fetched where it lies in a store; raises where it is lost."""
        if not stores.is_remote(self.path):
            return self.path
        try:
            found = stores.here(self.path)
        except InputError:
            self.check_size()  # tells what to do about a lost one
            raise
        if found.stat().st_size != self.bytes:
            self.check_size()
        return found

    def check_size(self) -> None:
        """Raises where the file is missing or has another size."""
        size = stores.size_of(self.path)
        if size is None:
            raise InputError(f"{self.path}: this shard is missing; the same prepare makes it anew")
        if size != self.bytes:
            raise InputError(
                f"{self.path}: this shard has {size} bytes and its manifest says {self.bytes}: it "
                "was cut off or changed; remove it, and the same prepare makes it anew"
            )

    def check_content(self) -> None:
        """Raises where the file holds anything else than it was made with."""
        if artefacts.file_sha256(self.here) != self.sha256:
            raise InputError(
                f"{self.path}: this shard is not what its manifest says (sha256); "
                "remove it, and the same prepare makes it anew"
            )


def here(shards: Iterable[Shard]) -> list[str]:
    """Returns the files of shards on this machine; those of a store are fetched."""
    every = list(shards)
    with ThreadPoolExecutor(FETCHED_AT_ONCE) as pool:
        found = pool.map(lambda shard: str(shard.here), every)
        return list(progress.track(found, "fetching shards", len(every), "shards"))


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
        size = file.seek(0, os.SEEK_END)
        taken = position
        window = b""
        start = 0
        while position < size:
            if len(window) < start + FRAME_START:
                window = os.pread(file.fileno(), READ_AT_ONCE, position)
                start = 0
                taken = take(digest, window, position, taken)
            length = frame_length(window, start, digest is not None)
            if length is None:
                lost = f"bytes {position} to {size} cannot be read"
                yield bad(path, position, f"its length is damaged; {lost}")
                return
            if length + CHECKSUM.size > size - position - FRAME_START:
                yield bad(path, position, f"the shard ends at byte {size}, inside the record")
                return
            frame = FRAME_START + length + CHECKSUM.size
            if len(window) < start + frame:
                window = os.pread(file.fileno(), max(frame, READ_AT_ONCE), position)
                start = 0
                taken = take(digest, window, position, taken)
            first = start + FRAME_START
            end = first + length
            if digest is None and not is_whole(window, first, end):
                yield bad(path, position, "its checksum is wrong")
            else:
                found = parsed(window, first, end, position)
                yield found or bad(path, position, "it is not one of image, label and id")
            position += frame
            start += frame


def take(digest: Any, window: bytes, position: int, taken: int) -> int:
    """Gives `digest` the part of the window after byte `taken`; returns how far it is taken then.

    The window was read at `position`.
    """
    if digest is not None:
        digest.update(memoryview(window)[taken - position :])
    return position + len(window)


def is_whole(window: bytes, first: int, end: int) -> bool:
    """Tells whether the checksum that follows the bytes is theirs."""
    checksum = window[end : end + CHECKSUM.size]
    return masked(google_crc32c.value(window[first:end])) == checksum


def frame_length(window: bytes, start: int, trusted: bool) -> int | None:
    """Returns the length of the record that begins there; None where it is damaged."""
    if len(window) < start + FRAME_START:
        return None
    (length,) = LENGTH.unpack_from(window, start)
    if trusted or is_whole(window, start, start + LENGTH.size):
        return length
    return None


def stored_at(path: Path, position: int) -> Stored:
    """Returns the record that begins at this byte; raises where it is damaged."""
    stored = next(stored_records(path, position))
    if isinstance(stored, BadImageError):
        raise stored
    return stored


def parsed(window: bytes, start: int, stop: int, position: int) -> Stored | None:
    """Returns the record that lies at start to stop of the window; None for any other message.

    The record is a tf.train.Example of `records.encode_record`: three features in the order of
    their keys. Each piece that is read begins where the one before ends, so all lie within where
    the last one does.
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
    """Says that a message is not one of ours."""


def feature(window: bytes, place: int, key: bytes, kind: int) -> tuple[int, int]:
    """Returns where the values of the map's entry with this key begin and end."""
    length, start = inside(window, place, (ENTRY, KEY))
    key_end = start + length
    if window[start:key_end] != key:
        raise UnexpectedError
    length, start = inside(window, key_end, (FEATURE, kind, VALUES))
    return start, start + length


def inside(window: bytes, place: int, tags: tuple[int, ...]) -> tuple[int, int]:
    """Goes into one message after another; returns the innermost one's length and where it begins.

    Most lengths take one byte or two, which are read here without a call.
    """
    length = 0
    for tag in tags:
        if window[place] != tag:
            raise UnexpectedError
        length = window[place + 1]
        after = window[place + 2]
        if length < 0x80:
            place += 2
        elif after < 0x80:
            length = length & 0x7F | after << 7
            place += 3
        else:
            length, place = varint(window, place + 1)
    return length, place


def varint(window: bytes, place: int) -> tuple[int, int]:
    """Returns the number that begins there, and where it ends.

    It is stored in seven bits a byte, the lowest first.
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
