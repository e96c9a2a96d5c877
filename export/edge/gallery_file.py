"""Reads a gallery file as `python -m bct_keras.gallery` writes it, without bct_keras.

The format stands in bct_keras/gallery/FORMAT.md.
"""

import json
import mmap
import struct
import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rows:
    """The embeddings of one block: row = scale * (256 * high + low)."""

    numbers: np.ndarray  # [rows]: of the entry that each row embeds
    encoders: np.ndarray  # [rows]: which encoder made it
    scale: np.ndarray  # [rows] float32
    high: np.ndarray  # [rows, dims] int8
    low: np.ndarray  # [rows, dims] int8


@dataclass(frozen=True)
class Names:
    """The ids and labels of one block's entries."""

    first: int  # number of the first entry
    ends: np.ndarray  # [2, rows]: where each id, and each label, ends
    text: memoryview  # all ids, then all labels

    def of(self, number: int) -> tuple[str, str]:
        """Returns the label and the id of an entry."""
        row = number - self.first
        id_start, label_start = self.ends[:, row - 1] if row else (0, 0)
        id_end, label_end = self.ends[:, row]
        labels = self.text[self.ends[0, -1] :]
        label = str(labels[label_start:label_end], "utf-8")
        return label, str(self.text[id_start:id_end], "utf-8")


class GalleryFile:
    """What a gallery file holds, mapped into memory."""

    def __init__(self, path: str):
        self.path = path
        with open(path, "rb") as file:
            self.bytes = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        magic, version, self.first_dims = struct.unpack("<8sII", self.head(0)[:16])
        # Version 2 may hold removals, and version 3 encoders of other dimensions and moved entries.
        if magic != b"BCTGALRY" or version not in (1, 2, 3):
            raise ValueError(f"{path} is no gallery of version 1 to 3")
        self.facts = {b"ENCO": [], b"COMP": []}
        self.names: list[Names] = []
        self.parts: list[Rows] = []
        self.removed: list[np.ndarray] = []
        self.payloads: list[tuple[int, memoryview, int]] = []
        self.given = 0  # numbers of entries so far
        self.read_blocks()
        if not self.parts:
            raise ValueError(f"{path} has no entries")
        self.entry_of = np.concatenate([part.numbers for part in self.parts])
        self.scale = np.concatenate([part.scale for part in self.parts])
        self.find_live_rows()

    def head(self, position: int) -> bytes:
        """Returns the head of 64 bytes at a position, whose checksum has to hold."""
        head = bytes(self.bytes[position : position + 64])
        fields, checksum = head[:60], head[60:]
        if len(head) < 64 or zlib.crc32(fields) != int.from_bytes(checksum, "little"):
            raise ValueError(f"the gallery is damaged at byte {position}; copy it again")
        return head

    def read_blocks(self) -> None:
        """Takes in every block that was acknowledged."""
        position = 128
        (end,) = struct.unpack("<Q", self.head(64)[:8])
        while position < end:
            kind, rows, length, checksum = struct.unpack("<4sIQI", self.head(position)[:20])
            payload = self.bytes[position + 64 : position + 64 + length]
            self.payloads.append((position, payload, checksum))
            if kind in (b"ENTR", b"REPL", b"MOVE"):
                self.read_rows(kind, rows, payload)
            elif kind == b"REMO":
                self.removed.append(np.frombuffer(payload, "<u8", rows))
            elif kind in (b"REST", b"FORG"):
                raise ValueError(f"{self.path}: run gallery restore or forget-originals again")
            elif kind not in self.facts:
                raise ValueError(f"{self.path} holds a block of unknown kind {kind!r}")
            else:
                self.check(self.payloads[-1:])
                fact = bytes(payload).rstrip(b"\0")
                self.facts[kind].append(json.loads(fact))
            position += 64 + length

    def read_rows(self, kind: bytes, rows: int, payload: memoryview) -> None:
        """Takes in a block of embeddings.

        A row begins with 8 bytes: where an entry's id and label end, or the number of the entry
        that is embedded anew or was moved.
        """
        scale = np.frombuffer(payload, "<f4", rows, 8 * rows)
        encoders = np.frombuffer(payload, "<u2", rows, 12 * rows)
        dims = self.dims_of(encoders)
        if kind == b"ENTR":
            ends = np.frombuffer(payload, "<u4", 2 * rows).reshape(2, rows)
            text = payload[(14 + 2 * dims) * rows :]
            self.names.append(Names(self.given, ends, text))
            numbers = np.arange(self.given, self.given + rows, dtype=np.uint64)
            self.given += rows
        else:
            numbers = np.frombuffer(payload, "<u8", rows)
        planes = np.frombuffer(payload, np.int8, 2 * rows * dims, 14 * rows)
        high, low = planes.reshape(2, rows, dims)
        self.parts.append(Rows(numbers, encoders, scale, high, low))

    def dims_of(self, encoders: np.ndarray) -> int:
        """Returns the dimensions of a block's rows, which have the same by all their encoders."""
        known = self.facts[b"ENCO"]
        if not len(encoders):
            return self.first_dims
        if encoders.max() >= len(known):
            raise ValueError(f"{self.path} is damaged; copy it again")
        return known[encoders[0]]["dims"]

    def find_live_rows(self) -> None:
        """Finds which rows are still those of an entry, and who made them."""
        made_by = np.concatenate([part.encoders for part in self.parts])
        removed = np.concatenate([np.zeros(0, np.uint64), *self.removed])
        largest = max(self.entry_of.max(), removed.max(initial=0))
        encoders = self.facts[b"ENCO"]
        if largest >= self.given:
            raise ValueError(f"{self.path} is damaged; copy it again")
        rows = np.arange(len(self.entry_of))
        row_of = np.full(self.given, -1)
        row_of[self.entry_of] = rows  # an entry's latest row is its live one
        row_of[removed] = -1
        live = row_of[row_of >= 0]
        if not len(live):
            raise ValueError(f"{self.path} has no entries")
        self.entries = len(live)
        self.dead = np.delete(rows, live)
        self.makers = set()
        dims = set()
        for encoder in np.unique(made_by[live]).tolist():
            self.makers.add(encoders[encoder]["fingerprint"])
            dims.add(encoders[encoder]["dims"])
        if len(dims) > 1:
            several = f"entries of {sorted(dims)} dimensions, which are not searched together here"
            raise ValueError(f"{self.path} has {several}: move or embed all of them")
        (self.dims,) = dims

    def check(self, payloads: list | None = None) -> None:
        """Holds every byte against its checksum; once after the file was copied here is enough."""
        for position, payload, checksum in self.payloads if payloads is None else payloads:
            if zlib.crc32(payload) != checksum:
                raise ValueError(
                    f"the gallery is damaged in the block at byte {position}; copy it again"
                )

    def name(self, number: int) -> tuple[str, str]:
        """Returns the label and the id of an entry."""
        for names in reversed(self.names):
            if names.first <= number:
                return names.of(number)
        raise LookupError(f"{self.path} has no entry {number}")
