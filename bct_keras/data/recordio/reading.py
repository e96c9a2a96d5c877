"""MXNet's RecordIO, read without MXNet: a `.rec` file of records.

A record: u32 magic; u32 that holds a 3-bit part number and a 29-bit length; the payload; zeros up
to 4 bytes. Part 0 is a whole record. A payload that holds the magic at a multiple of 4 was cut
there, and the magic taken out: its parts are numbered 1, 2, ..., 2, 3. A payload: u32 flag, f32
label, u64 id, u64 second id; `flag` f32 labels that take the place of the one label where the flag
is not 0; the encoded image.

Kept on purpose: the one library that reads it is MXNet, which was retired in 2023 and whose last
release cannot be imported beside a NumPy of today.
"""

import os
import struct
import weakref
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from bct_keras import progress
from bct_keras.errors import BadImageError, InputError
from bct_keras.untrusted.reading import opened

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
PART = struct.Struct("<II")
LENGTH_BITS = 29
LENGTH_MASK = (1 << LENGTH_BITS) - 1
WHOLE, FIRST, MIDDLE, LAST = range(4)

PAYLOAD_HEADER = struct.Struct("<IfQQ")
ONE_LABEL = struct.Struct("<f")
TWO_LABELS = struct.Struct("<2f")
# All but the image, for up to two labels.
HEAD_BYTES = PART.size + PAYLOAD_HEADER.size + TWO_LABELS.size
READ_AT_ONCE = 1 << 22
# A record is read into memory only when it is no longer than this, or its own header says the same
# length.
TRUSTED_LENGTH = 1 << 20


class Head(NamedTuple):
    """What a record says before its image."""

    labels: tuple[float, ...]  # the first two, if there are so many
    image_starts: int  # byte of the payload
    has_image: bool


class RecordFile:
    """Reads by position alone (pread), so that processes may share it, forked or pickled."""

    def __init__(self, path: Path):
        self.path = path
        with opened(path) as file:
            self.size = os.fstat(file.fileno()).st_size
        if not self.size:
            raise InputError(f"{path} is empty")

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "size": self.size}

    @cached_property
    def descriptor(self) -> int:
        """The open file, which is closed with this object."""
        descriptor = os.open(self.path, os.O_RDONLY)
        weakref.finalize(self, os.close, descriptor)
        return descriptor

    def bad(self, start: int, reason: str) -> BadImageError:
        """Returns the error that names a record by its place."""
        return BadImageError(f"{self.path}, record at byte {start}: {reason}")

    def read(self, start: int, end: int) -> bytes:
        """Returns the payload of the record that starts there, the next one starting at `end`."""
        size = end - start
        if size > TRUSTED_LENGTH:
            self.check_length(start, end)
        content = os.pread(self.descriptor, size, start)
        if len(content) >= PART.size:
            magic, length = PART.unpack_from(content)
            # The number of a whole record is part 0, whose bits are zeros.
            if magic == MAGIC and padded(length) == size == len(content):
                return content[PART.size : PART.size + length]
        return self.joined(content, start, end)

    def joined(self, content: bytes, start: int, end: int) -> bytes:
        """Returns the payload of a record in parts; raises where something is wrong with it."""
        pieces: list[bytes] = []
        position = 0
        number = FIRST
        while number in (FIRST, MIDDLE):
            part, length = self.part(content, position, start)
            number = self.checked_number(part, bool(pieces), start)
            first = position + PART.size
            payload = content[first : first + length]
            if len(payload) != length:
                found = f"it says {length} bytes and has {len(payload)}"
                raise self.bad(start, f"{found}: the file or its index is damaged")
            pieces.append(payload)
            position += padded(length)
        if position != end - start:
            raise self.bad(
                start,
                f"it ends at byte {start + position} and the next one of the index starts at {end}:"
                " one of the two is damaged; without its .idx the file is searched for records",
            )
        return MAGIC_BYTES.join(pieces)

    def part(self, content: bytes, position: int, start: int) -> tuple[int, int]:
        """Returns the number of a part and the length of its payload."""
        if len(content) < position + PART.size:
            ends = start + len(content)
            raise self.bad(start, f"the file ends at byte {ends}, inside the record")
        magic, word = PART.unpack_from(content, position)
        if magic != MAGIC:
            raise self.bad(start, f"no record (or part of one) starts at byte {start + position}")
        return word >> LENGTH_BITS, word & LENGTH_MASK

    def checked_number(self, number: int, inside: bool, start: int) -> int:
        """Returns the number of a part; raises where it cannot stand there."""
        expected = (MIDDLE, LAST) if inside else (WHOLE, FIRST)
        if number not in expected:
            raise self.bad(start, f"its parts are out of order (part {number})")
        return number

    def check_length(self, start: int, end: int) -> None:
        """Follows the parts by their headers alone; raises where the record does not end at `end`.

        So a damaged index does not make us read gigabytes.
        """
        position = start
        number = FIRST
        while number in (FIRST, MIDDLE) and position < end:
            header = os.pread(self.descriptor, PART.size, position)
            number, length = self.part(header, 0, position)
            position += padded(length)
        if position != end:
            ends = f"it ends at byte {position} and the next one of the index starts at {end}"
            raise self.bad(start, ends)

    def head(self, start: int, end: int, content: bytes = b"") -> Head:
        """Reads the record's first bytes alone, unless they are given, as `scan` yields them."""
        if not content:
            content = os.pread(self.descriptor, HEAD_BYTES, start)
        number, length = self.part(content, 0, start)
        if number == WHOLE and padded(length) == end - start:
            first_bytes = content[PART.size : PART.size + length]
            return self.parsed(first_bytes, length, start)
        payload = self.read(start, end)
        return self.parsed(payload, len(payload), start)

    def parsed(self, payload: bytes, length: int, start: int) -> Head:
        """Returns what a payload says before its image.

        Args:
            payload: All of it, or its first bytes alone.
            length: How long all of it is.
            start: Where the record starts, for errors.
        """
        if length < PAYLOAD_HEADER.size:
            raise self.bad(start, f"{length} bytes are too few for an image and its label")
        flag, label, _, _ = PAYLOAD_HEADER.unpack_from(payload)
        if not flag:
            return Head((label,), PAYLOAD_HEADER.size, PAYLOAD_HEADER.size < length)
        image_starts = PAYLOAD_HEADER.size + ONE_LABEL.size * flag
        if image_starts > length:
            raise self.bad(start, f"it says {flag} labels and has {length} bytes")
        labels = ONE_LABEL if flag == 1 else TWO_LABELS
        first_labels = labels.unpack_from(payload, PAYLOAD_HEADER.size)
        return Head(first_labels, image_starts, image_starts < length)

    def scan(self) -> Iterator[tuple[int, int, bytes] | BadImageError]:
        """Yields (start, end, first bytes) of every record in file order.

        In place of each stretch that holds none there is an error.
        """
        position = 0
        window = b""
        window_start = 0
        bar = progress.bar(f"searching {self.path.name}", self.size, "bytes")
        while position < self.size:
            inside = position - window_start
            window_end = window_start + len(window)
            if len(window) < inside + HEAD_BYTES and window_end < self.size:
                bar.update(position - window_start)
                window = os.pread(self.descriptor, READ_AT_ONCE, position)
                window_start = position
                inside = 0
            head = window[inside : inside + HEAD_BYTES]
            try:
                end = self.record_end(head, position)
            except BadImageError as bad:
                end = self.next_record(position + 4)
                yield BadImageError(f"{bad}; bytes {position} to {end} cannot be read")
            else:
                yield position, end, head
            position = end
        bar.close()

    def record_end(self, head: bytes, start: int) -> int:
        """Returns where the record that starts with `head` ends, by the headers of its parts."""
        position = start
        inside = False
        while True:
            found, length = self.part(head, 0, start)
            number = self.checked_number(found, inside, start)
            position += padded(length)
            if position > self.size:
                beyond = "which reach beyond the end of the file"
                raise self.bad(start, f"it says {length} bytes, {beyond}")
            if number in (WHOLE, LAST):
                return position
            inside = True
            head = os.pread(self.descriptor, PART.size, position)

    def next_record(self, position: int) -> int:
        """Returns where the next record starts.

        That is where a first part's header has another record, or the file's end, after it.
        """
        while position < self.size:
            window = os.pread(self.descriptor, READ_AT_ONCE, position)
            found = window.find(MAGIC_BYTES)
            while found >= 0:
                start = position + found
                if start % 4 == 0 and self.is_record(start):
                    return start
                found = window.find(MAGIC_BYTES, found + 1)
            position += max(len(window) - 3, 1)  # the magic may lie across two windows
        return self.size

    def is_record(self, start: int) -> bool:
        """Tells whether a record starts there."""
        header = os.pread(self.descriptor, PART.size, start)
        try:
            end = self.record_end(header, start)
        except BadImageError:
            return False
        if end == self.size:
            return True
        return os.pread(self.descriptor, 4, end) == MAGIC_BYTES


def padded(length: int) -> int:
    """Returns the bytes of a part: its header, its payload, and zeros up to a multiple of 4."""
    words = (length + 3) // 4
    return PART.size + words * 4
