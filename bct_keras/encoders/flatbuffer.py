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
        """Returns the table that the whole file is."""
        start = number(content, "<I", 0)
        return cls(content, start)

    def place(self, field: int) -> int | None:
        """Returns where the field with this number lies; None where the table does not hold it."""
        places = self.start - number(self.content, "<i", self.start)
        entry = 4 + 2 * field
        length = number(self.content, "<H", places)
        if entry + 2 > length:
            return None
        offset = number(self.content, "<H", places + entry)
        if not offset:
            return None
        return self.start + offset

    def whole_number(self, field: int, form: str) -> int:
        """Returns a number of this form; 0 where it is left out."""
        place = self.place(field)
        if place is None:
            return 0
        return number(self.content, form, place)

    def table(self, field: int) -> "Table | None":
        """Returns the table in this field; None where it is left out."""
        place = self.place(field)
        if place is None:
            return None
        return self.table_at(place)

    def table_at(self, place: int) -> "Table":
        """Returns the table that is pointed to from here."""
        offset = number(self.content, "<I", place)
        return Table(self.content, place + offset)

    def bytes(self, field: int, item: int = 1) -> bytes:
        """Returns a vector's bytes, `item` for each entry; nothing where it is left out.

        It may hold numbers, or be a text.
        """
        start, length = self.vector(field)
        if start + length * item > len(self.content):
            raise DamagedError(f"byte {start}: {length} items of {item} bytes go past the end")
        return self.content[start : start + length * item]

    def tables(self, field: int) -> Iterator["Table"]:
        """Yields the first tables of a vector."""
        start, length = self.vector(field)
        for entry in range(min(length, MOST_ENTRIES)):
            yield self.table_at(start + 4 * entry)

    def vector(self, field: int) -> tuple[int, int]:
        """Returns where its first item lies, and how many there are."""
        place = self.place(field)
        if place is None:
            return 0, 0
        place += number(self.content, "<I", place)
        return place + 4, number(self.content, "<I", place)


def number(content: bytes, form: str, place: int) -> int:
    """Reads a number of this form, as `struct` has it; raises where it is not inside."""
    last_place = len(content) - struct.calcsize(form)
    if not 0 <= place <= last_place:
        raise DamagedError(f"byte {place} is asked for, and there are {len(content)}")
    (found,) = struct.unpack_from(form, content, place)
    return found


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
            buffer = model.table_at(start + 4 * wanted)
            name = entry.bytes(0).decode(errors="replace")
            found[name] = buffer.bytes(0)
        return found
    except (DamagedError, OSError) as error:
        raise InputError(f"{path} cannot be read as a .tflite file: {error}") from None
