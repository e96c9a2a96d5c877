"""Reads the blocks of a gallery file, each under a checksum, without bct_keras.

The format stands in bct_keras/gallery/FORMAT.md.
"""

import mmap
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

HEAD_BYTES = 64
FIRST_BLOCK = 128
MAGIC = b"BCTGALRY"
# Version 2 may hold removals, and version 3 encoders of other dimensions and moved entries.
VERSIONS = (1, 2, 3)


class DamagedError(ValueError):
    """The file holds what no writer has written."""

    def __init__(self, position: int, what: str):
        message = f"the gallery is damaged at byte {position}: {what}; copy it again"
        super().__init__(message)


@dataclass(frozen=True)
class Block:
    """One block of the file; its payload is not checked yet."""

    position: int  # of its head
    kind: bytes
    rows: int
    payload: memoryview
    checksum: int

    def check(self) -> None:
        """Raises unless the payload's checksum holds."""
        if zlib.crc32(self.payload) != self.checksum:
            raise self.damaged("a block is not what its checksum says")

    def bytes(self, start: int, count: int) -> memoryview:
        """Returns so many bytes of the payload, from the one at `start`."""
        end = start + count
        if end > len(self.payload):
            raise self.damaged("a block is shorter than what it holds")
        return self.payload[start:end]

    def array(self, kind: str, start: int, count: int) -> np.ndarray:
        """Returns so many numbers of this kind; the first begins at the byte `start`."""
        size = np.dtype(kind).itemsize
        content = self.bytes(start, count * size)
        return np.frombuffer(content, kind)

    def damaged(self, what: str) -> DamagedError:
        """Returns the error of a block that cannot be so."""
        return DamagedError(self.position, what)


class BlockFile:
    """A gallery file, mapped into memory."""

    def __init__(self, path: str):
        self.bytes = mapped(path)
        header = self.head(0)
        if header is None or header[:8] != MAGIC:
            raise ValueError(f"{path} is no gallery, or its first {HEAD_BYTES} bytes are damaged")
        version, self.first_dims = struct.unpack_from("<II", header, 8)
        if version not in VERSIONS:
            raise ValueError(f"{path} is a gallery of version {version}; this reads 1 to 3")

    def head(self, position: int) -> bytes | None:
        """Returns the head of 64 bytes at a position; None unless its checksum holds."""
        head = bytes(self.bytes[position : position + HEAD_BYTES])
        if len(head) < HEAD_BYTES:
            return None
        fields = head[:-4]
        (checksum,) = struct.unpack("<I", head[-4:])
        if zlib.crc32(fields) != checksum:
            return None
        return head

    def end(self) -> int:
        """Returns where the acknowledged blocks end."""
        commit = self.head(HEAD_BYTES)
        if commit is None:
            time.sleep(0.01)  # a writer may have been at these very bytes
            commit = self.head(HEAD_BYTES)
        if commit is None:
            raise DamagedError(HEAD_BYTES, "the commit is not what its checksum says")
        (end,) = struct.unpack_from("<Q", commit)
        if not FIRST_BLOCK <= end <= len(self.bytes):
            raise DamagedError(len(self.bytes), f"{end} bytes were acknowledged")
        return end

    def blocks(self) -> Iterator[Block]:
        """Yields every block that was acknowledged."""
        position = FIRST_BLOCK
        end = self.end()
        while position < end:
            first = position + HEAD_BYTES
            head = self.head(position)
            if head is None:
                raise DamagedError(position, "a head is not what its checksum says")
            kind, rows, length, checksum = struct.unpack_from("<4sIQI", head)
            if length > end - first:
                raise DamagedError(position, "a block ends behind the last one")
            payload = self.bytes[first : first + length]
            yield Block(position, kind, rows, payload, checksum)
            position = first + length


def mapped(path: str) -> memoryview:
    """Returns a file's bytes, which are read as they are needed."""
    with open(path, "rb") as file:
        if not file.read(1):  # an empty file cannot be mapped
            raise ValueError(f"{path} is no gallery: it is empty")
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return memoryview(content)
