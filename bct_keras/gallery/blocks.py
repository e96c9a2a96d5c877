"""A file of checksummed blocks that is only ever appended to: what was seen stays where it is.

    0    header    magic, version, first dims           64 bytes
    64   commit    bytes acknowledged, commits so far   64 bytes, written anew by each commit
    128  block     header of 64 bytes, payload padded to a multiple of 64
    ...  block

The table of every field stands in layout.py, and the whole format in FORMAT.md. Each byte of the
file lies under a checksum. A commit appends blocks, syncs, moves the acknowledged length past them,
and syncs again; what lies beyond that length was never acknowledged.

Version 2 may hold blocks that say which entries were removed. A file becomes one with the commit of
its first removal, so that a program that knows version 1 alone refuses it rather than finds who was
removed. Tidying leaves the removed entries out and makes a file of version 1 again.
"""

import mmap
import os
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bct_keras.errors import InputError
from bct_keras.gallery import layout
from bct_keras.gallery.layout import (
    CHECKSUM,
    FIRST_BLOCK,
    HEAD_BYTES,
    MAGIC,
    VERSION,
    VERSION_WITH_SPACES,
)

HEADER = layout.HEADER.struct
COMMIT = layout.COMMIT.struct
BLOCK = layout.BLOCK.struct


@dataclass(frozen=True)
class Block:
    """One block of a file, whose payload is not yet checked."""

    path: Path
    kind: bytes
    rows: int
    offset: int
    payload: memoryview
    checksum: int

    def check(self) -> None:
        """Raises unless the payload's checksum holds."""
        if zlib.crc32(self.payload) != self.checksum:
            raise damaged(self.path, self.offset, "a block is not what its checksum says")


def damaged(path: Path, offset: int, what: str) -> InputError:
    """Returns the error of a damaged file."""
    return InputError(f"{path} is damaged at byte {offset}: {what}; bring back a copy of this file")


def sealed(fields: bytes) -> bytes:
    """Returns a head with its checksum."""
    return fields + CHECKSUM.pack(zlib.crc32(fields))


def unsealed(layout: struct.Struct, head: bytes) -> tuple | None:
    """Returns the fields of a 64-byte head; None where its checksum does not hold."""
    if len(head) != HEAD_BYTES or sealed(head[: layout.size]) != head:
        return None
    return layout.unpack(head[: layout.size])


def encode(kind: bytes, rows: int, *parts: bytes) -> list[bytes]:
    """Returns what `append` writes for one block."""
    length = sum(len(part) for part in parts)
    padding = bytes(-length % HEAD_BYTES)
    payload = [*parts, padding]
    checksum = 0
    for part in payload:
        checksum = zlib.crc32(part, checksum)
    head = BLOCK.pack(kind, rows, length + len(padding), checksum)
    return [sealed(head), *payload]


class BlockFile:
    """One open file. A writer holds the file's lock for as long as it is open."""

    def __init__(self, path: Path, descriptor: int):
        self.path = path
        self.descriptor = descriptor
        header = unsealed(HEADER, os.pread(descriptor, HEAD_BYTES, 0))
        if header is None or header[0] != MAGIC:
            raise InputError(f"{path} is no gallery, or its first {HEAD_BYTES} bytes are damaged")
        self.version: int = header[1]
        self.dims: int = header[2]
        if not VERSION <= self.version <= VERSION_WITH_SPACES:
            raise InputError(
                f"{path} is a gallery of version {self.version}; this program reads versions "
                f"{VERSION} to {VERSION_WITH_SPACES}"
            )

    def committed(self) -> tuple[int, int]:
        """Returns the bytes acknowledged, and the number of commits that made them."""
        commit = self._read_commit()
        if commit is None:
            time.sleep(0.01)  # a writer may have been at these very bytes
            commit = self._read_commit()
        if commit is None:
            raise damaged(self.path, HEAD_BYTES, "the commit is not what its checksum says")
        acknowledged, commits = commit
        size = os.fstat(self.descriptor).st_size
        if not FIRST_BLOCK <= acknowledged <= size:
            raise damaged(self.path, size, f"{acknowledged} bytes were acknowledged")
        return acknowledged, commits

    def _read_commit(self) -> tuple[int, int] | None:
        """Reads the commit; returns None where its checksum does not hold."""
        head = os.pread(self.descriptor, HEAD_BYTES, HEAD_BYTES)
        return unsealed(COMMIT, head)

    def blocks(self, start: int, end: int) -> Iterator[Block]:
        """Yields blocks, memory-mapped. Their payloads are not checked: that reads them whole."""
        if start == end:
            return
        mapped = memoryview(mmap.mmap(self.descriptor, end, prot=mmap.PROT_READ))
        while start < end:
            first = start + HEAD_BYTES
            head = unsealed(BLOCK, bytes(mapped[start:first]))
            if head is None or head[2] > end - first:
                raise damaged(self.path, start, "the head of a block is not what its checksum says")
            kind, rows, length, checksum = head
            start = first + length
            yield Block(
                path=self.path,
                kind=kind,
                rows=rows,
                offset=first,
                payload=mapped[first:start],
                checksum=checksum,
            )

    def append(self, *blocks: list[bytes], version: int = VERSION) -> None:
        """Appends blocks; returns when they are on the disk, in a file of at least this version.

        The order is what makes it safe: 1 the blocks, 2 sync, 3 the commit, with the header where
        the version rises, 4 sync.
        """
        end, commits = self.committed()
        for block in blocks:
            for part in block:
                end += write_all(self.descriptor, part, end)
        os.fsync(self.descriptor)
        heads = sealed(COMMIT.pack(end, commits + 1))
        offset = HEAD_BYTES
        if version > self.version:
            header = sealed(HEADER.pack(MAGIC, version, self.dims))
            heads = header + heads
            offset = 0
        # Within the first 128 bytes: disks write a sector, of 512 bytes or more, whole or not at
        # all.
        write_all(self.descriptor, heads, offset)
        os.fsync(self.descriptor)
        self.version = max(version, self.version)

    def forget_unacknowledged(self) -> None:
        """Cuts off what lies beyond the last commit."""
        end, _ = self.committed()
        os.ftruncate(self.descriptor, end)

    def replaced(self) -> bool:
        """Tells whether another file has taken this one's place."""
        now = os.stat(self.path)
        mine = os.fstat(self.descriptor)
        return not os.path.samestat(now, mine)

    def close(self) -> None:
        """Closes the file, which gives its lock back."""
        os.close(self.descriptor)


def write_all(descriptor: int, data: bytes, offset: int) -> int:
    """Writes all bytes, in as many goes as it takes."""
    left = memoryview(data).cast("B")
    while left:
        written = os.pwrite(descriptor, left, offset)
        left = left[written:]
        offset += written
    return len(data)
