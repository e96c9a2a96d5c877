"""Reads single fields of a flatbuffer by their numbers, without trusting an offset in it."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bct_keras.errors import InputError

MOST_ENTRIES = 64  # of a vector that is gone through


class DamagedError(Exception):
    """An offset that points out of the file, or a length that does."""


@dataclass(frozen=True)
class Table:
    """One table; a field is found through the table's own list of places, and may be left out."""

    content: bytes
    start: int

    @classmethod
    def root(cls, content: bytes) -> "Table":
        return cls(content, number(content, "<I", 0))

    def place(self, field: int) -> int | None:
        """Returns where the field with this number lies; None where the table does not hold it."""
        places = self.start - number(self.content, "<i", self.start)
        entry = 4 + 2 * field
        if entry + 2 > number(self.content, "<H", places):
            return None
        return (
            self.start + offset if (offset := number(self.content, "<H", places + entry)) else None
        )

    def whole_number(self, field: int, form: str) -> int:
        place = self.place(field)
        return 0 if place is None else number(self.content, form, place)

    def table(self, field: int) -> "Table | None":
        place = self.place(field)
        return (
            None
            if place is None
            else Table(self.content, place + number(self.content, "<I", place))
        )

    def bytes(self, field: int, item: int = 1) -> bytes:
        """Returns a vector of numbers, or a text, of `item` bytes each; nothing where it is left
        out.
        """
        start, length = self.vector(field)
        if start + length * item > len(self.content):
            raise DamagedError(f"byte {start}: {length} items of {item} bytes go past the end")
        return self.content[start : start + length * item]

    def tables(self, field: int) -> Iterator["Table"]:
        start, length = self.vector(field)
        for entry in range(start, start + 4 * min(length, MOST_ENTRIES), 4):
            yield Table(self.content, entry + number(self.content, "<I", entry))

    def vector(self, field: int) -> tuple[int, int]:
        """Returns where its first item lies, and how many there are."""
        place = self.place(field)
        if place is None:
            return 0, 0
        place += number(self.content, "<I", place)
        return place + 4, number(self.content, "<I", place)


def number(content: bytes, form: str, place: int) -> int:
    if not 0 <= place <= len(content) - struct.calcsize(form):
        raise DamagedError(f"byte {place} is asked for, and there are {len(content)}")
    return struct.unpack_from(form, content, place)[0]


def tflite_metadata(path: Path) -> dict[str, bytes]:
    """Returns the metadata of a .tflite file by their names.

    Of the schema's tables: Model.buffers = 4, Model.metadata = 6; Metadata.name = 0, .buffer = 1;
    Buffer.data = 0.
    """
    try:
        model = Table.root(path.read_bytes())
        found = {}
        for entry in model.tables(6):
            wanted = entry.whole_number(1, "<I")
            start, length = model.vector(4)
            if wanted >= length:
                raise DamagedError(f"metadata in buffer {wanted}, and there are {length}")
            buffer = Table(
                model.content, start + 4 * wanted + number(model.content, "<I", start + 4 * wanted)
            )
            found[entry.bytes(0).decode(errors="replace")] = buffer.bytes(0)
        return found
    except (DamagedError, OSError) as error:
        raise InputError(f"{path} cannot be read as a .tflite file: {error}") from None
