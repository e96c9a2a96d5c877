"""The one table of where each byte of a gallery file lies.

What writes and reads the file takes its offsets and types from here, and FORMAT.md has its tables
from here, which tests/gallery/format_test.py holds against each other.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAGIC = b"BCTGALRY"
VERSION = 1
VERSION_WITH_REMOVALS = 2
VERSION_WITH_SPACES = 3
HEAD_BYTES = 64
FIRST_BLOCK = 2 * HEAD_BYTES
CHECKSUM = struct.Struct("<I")
LAST_SECTION = "## Tables"  # of FORMAT.md

# What struct and numpy call a type, in words.
TYPE_NAMES = {
    "8s": "8 bytes",
    "4s": "4 bytes",
    "I": "uint32",
    "Q": "uint64",
    "<u2": "uint16",
    "<u4": "uint32",
    "<u8": "uint64",
    "<f4": "float32",
    "i1": "int8",
    "u1": "bytes",
}


@dataclass(frozen=True)
class Field:
    """One field of a head of 64 bytes."""

    name: str
    code: str  # of struct
    meaning: str


@dataclass(frozen=True)
class Head:
    """A head of 64 bytes: its fields, zeros, and the CRC-32 of the 60 bytes before it."""

    name: str
    fields: tuple[Field, ...]

    @property
    def struct(self) -> struct.Struct:
        """Returns the layout of all but the checksum."""
        codes = "".join(field.code for field in self.fields)
        used = struct.calcsize("<" + codes)
        padding = HEAD_BYTES - CHECKSUM.size - used
        return struct.Struct(f"<{codes}{padding}x")

    def offsets(self) -> Iterator[tuple[int, Field]]:
        """Yields where in the head each field begins."""
        offset = 0
        for field in self.fields:
            yield offset, field
            offset += struct.calcsize("<" + field.code)


@dataclass(frozen=True)
class Section:
    """One array in the payload of a block."""

    name: str
    dtype: str  # of numpy
    shape: tuple[int | str, ...]  # numbers, and "rows" and "dims" of the block
    meaning: str

    def shape_of(self, rows: int, dims: int) -> tuple[int, ...]:
        """Returns its shape in a block of so many rows of so many dimensions."""
        known = {"rows": rows, "dims": dims}
        shape = []
        for size in self.shape:
            shape.append(known[size] if isinstance(size, str) else size)
        return tuple(shape)


@dataclass(frozen=True)
class BlockKind:
    """One kind of block."""

    kind: bytes
    version: int  # of a file from which on it may be there
    meaning: str
    sections: tuple[Section, ...]


HEADER = Head(
    "header",
    (
        Field("magic", "8s", "`BCTGALRY`"),
        Field("version", "I", "1 to 3"),
        Field("dims", "I", "dimensions of the encoder that began the gallery"),
    ),
)
COMMIT = Head(
    "commit",
    (
        Field("acknowledged", "Q", "how many bytes of the file count; what follows is none of it"),
        Field("commits", "Q", "how many commits made them"),
    ),
)
BLOCK = Head(
    "block",
    (
        Field("kind", "4s", "which of the blocks below"),
        Field("rows", "I", "how many rows or numbers it has; 0 in a fact"),
        Field("length", "Q", "bytes of the payload, with what pads it to a multiple of 64"),
        Field("checksum", "I", "CRC-32 of the payload"),
    ),
)

ENDS = Section(
    "ends",
    "<u4",
    (2, "rows"),
    "where each id ends in `ids`, then where each label ends in `labels`",
)
NUMBERS = Section("numbers", "<u8", ("rows",), "of the entries that it is about")
SCALE = Section("scale", "<f4", ("rows",), "of each embedding; above 0 and below 2^-14")
ENCODERS = Section("encoders", "<u2", ("rows",), "which encoder made it, by the order of `ENCO`")
HIGH = Section("high", "i1", ("rows", "dims"), "the upper byte of each coordinate")
LOW = Section("low", "i1", ("rows", "dims"), "the lower byte, with its sign")
IDS = Section("ids", "u1", ("ends[0, -1]",), "all ids end to end, in UTF-8")
LABELS = Section("labels", "u1", ("ends[1, -1]",), "all labels end to end, in UTF-8")
TEXT = Section("text", "u1", ("length",), "a JSON object in UTF-8, padded with zeros")
VECTORS = (SCALE, ENCODERS, HIGH, LOW)
LARGEST_SCALE = 2.0**-14  # no scale is as large

ENTRIES = b"ENTR"
REPLACEMENTS = b"REPL"
REMOVALS = b"REMO"
MOVES = b"MOVE"
RESTORED = b"REST"
FORGOTTEN = b"FORG"
ENCODER = b"ENCO"
COMPATIBLE = b"COMP"
KINDS = (
    BlockKind(ENTRIES, 1, "new entries", (ENDS, *VECTORS, IDS, LABELS)),
    BlockKind(REPLACEMENTS, 1, "entries embedded anew", (NUMBERS, *VECTORS)),
    BlockKind(ENCODER, 1, "an encoder that makes entries", (TEXT,)),
    BlockKind(COMPATIBLE, 1, "which queries may search which entries", (TEXT,)),
    BlockKind(REMOVALS, 2, "entries that are there no more", (NUMBERS,)),
    BlockKind(MOVES, 3, "entries moved by an adapter; the row before is kept", (NUMBERS, *VECTORS)),
    BlockKind(RESTORED, 3, "moved entries whose kept row is the live one again", (NUMBERS,)),
    BlockKind(FORGOTTEN, 3, "moved entries whose kept row counts no more", (NUMBERS,)),
)


def offsets(sections: tuple[Section, ...]) -> Iterator[tuple[str, Section]]:
    """Yields where in a payload each section begins, as a formula of its rows and dims."""
    per_row, per_coordinate, texts = 0, 0, []
    for section in sections:
        yield formula(per_row, per_coordinate, texts), section
        numbers = [size for size in section.shape if isinstance(size, int)]
        count = np.dtype(section.dtype).itemsize * math.prod(numbers)
        if "dims" in section.shape:
            per_coordinate += count
        elif "rows" in section.shape:
            per_row += count
        else:
            texts.append(f"{section.shape[0]}")


def formula(per_row: int, per_coordinate: int, texts: list[str]) -> str:
    """Returns the sum of so many bytes a row, a coordinate, and of texts."""
    terms = []
    if per_coordinate:
        terms.append(f"({per_row} + {per_coordinate} dims) rows")
    elif per_row:
        terms.append(f"{per_row} rows")
    return " + ".join([*terms, *texts]) or "0"


def tables() -> str:
    """Returns the tables of FORMAT.md."""
    lines = []
    for head in (HEADER, COMMIT, BLOCK):
        lines += [f"### The {head.name}'s head", "", "| offset | type | name | what |"]
        lines += ["|---:|---|---|---|"]
        for offset, field in head.offsets():
            kind = TYPE_NAMES[field.code]
            lines.append(f"| {offset} | {kind} | `{field.name}` | {field.meaning} |")
        lines.append(f"| {HEAD_BYTES - CHECKSUM.size} | uint32 | | CRC-32 of the bytes before |")
        lines.append("")
    for kind in KINDS:
        lines += [f"### `{kind.kind.decode()}`: {kind.meaning}", ""]
        lines += [f"Since version {kind.version}.", ""]
        lines += ["| offset | type | shape | name | what |", "|---|---|---|---|---|"]
        for offset, section in offsets(kind.sections):
            shape = ", ".join(str(size) for size in section.shape)
            lines.append(
                f"| {offset} | {TYPE_NAMES[section.dtype]} | {shape} | `{section.name}` | "
                f"{section.meaning} |"
            )
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def tables_in(page: str) -> str:
    """Returns the tables of a page, which are its last section."""
    _, _, last = page.partition(f"{LAST_SECTION}\n")
    _, _, tables_there = last.partition("\n\n###")
    return f"###{tables_there}" if tables_there else ""


def write_tables() -> None:
    """Writes the tables of FORMAT.md anew."""
    page = Path(__file__).with_name("FORMAT.md")
    text = page.read_text()
    page.write_text(text[: len(text) - len(tables_in(text))] + tables())
