"""Reads the blocks of a gallery file, each under a checksum, and the names and rows in them.

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
        super().__init__(f"the gallery is damaged at byte {position}: {what}; copy it again")


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

    def array(self, kind: str, count: int, start: int) -> np.ndarray:
        """Returns so many numbers of this kind, which begin at a byte of the payload."""
        end = start + count * np.dtype(kind).itemsize
        if end > len(self.payload):
            raise self.damaged("a block is shorter than what it holds")
        return np.frombuffer(self.payload[start:end], kind)

    def damaged(self, what: str) -> DamagedError:
        """Returns the error of a block that cannot be so."""
        return DamagedError(self.position, what)


@dataclass(frozen=True)
class Rows:
    """The embeddings of one block: row = scale * (256 * high + low)."""

    encoders: np.ndarray  # [rows]: which encoder made it
    scale: np.ndarray  # [rows] float32
    high: np.ndarray  # [rows, dims] int8
    low: np.ndarray  # [rows, dims] int8


@dataclass(frozen=True)
class Names:
    """The ids and labels of one block's entries."""

    first: int  # number of the first entry
    ends: np.ndarray  # [2, rows]: where each id, and each label, ends
    text: np.ndarray  # [bytes]: all ids, then all labels
    block: Block

    def of(self, number: int) -> tuple[str, str]:
        """Returns the label and the id of an entry."""
        row = number - self.first
        id_start, label_start = 0, 0
        if row:
            id_start, label_start = self.ends[:, row - 1]
        id_end, label_end = self.ends[:, row]
        ids_end = self.ends[0, -1]
        ident = self.text[id_start:id_end]
        label = self.text[ids_end + label_start : ids_end + label_end]
        try:
            return str(label.tobytes(), "utf-8"), str(ident.tobytes(), "utf-8")
        except UnicodeDecodeError:
            raise self.block.damaged("an id or a label is no text") from None


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
        fields, checksum = head[:-4], head[-4:]
        if len(head) < HEAD_BYTES or zlib.crc32(fields) != int.from_bytes(checksum, "little"):
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
        if not file.read(1):
            raise ValueError(f"{path} is no gallery: it is empty")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
