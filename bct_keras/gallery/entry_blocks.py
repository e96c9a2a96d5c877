"""Writes and reads what one block of a gallery file holds.

That is entries, replacements, removals, or a fact; or which entries were moved, restored, or had
their original vectors forgotten.
"""

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, asdict, dataclass, fields
from typing import Any, NamedTuple, TypeVar

import numpy as np

from bct_keras.gallery import blocks
from bct_keras.gallery.blocks import Block, damaged
from bct_keras.gallery.facts import Compatibility, KnownEncoder
from bct_keras.gallery.layout import (
    ENCODERS,
    ENDS,
    ENTRIES,
    HIGH,
    LOW,
    MOVES,
    NUMBERS,
    REPLACEMENTS,
    SCALE,
    VECTORS,
    Section,
)
from bct_keras.gallery.vectors import Vectors

Fact = TypeVar("Fact", KnownEncoder, Compatibility)


class Name(NamedTuple):
    """What an entry is called, and whom it shows."""

    id: str
    label: str


@dataclass(frozen=True)
class Rows:
    """The embeddings of one block."""

    first: int  # rows are counted through the whole file
    vectors: Vectors
    encoders: np.ndarray  # [rows] uint16: which of the gallery's encoders, in the order they came


@dataclass(frozen=True)
class Names:
    """The ids and labels of one block's entries, end to end."""

    first: int  # number of the first entry
    ends: np.ndarray  # [2, rows] uint32: where each id, and each label, ends in its text
    texts: tuple[memoryview, memoryview]
    block: Block

    def of(self, row: int) -> Name:
        """Returns the name of the entry in this row of the block."""
        ids, labels = self.texts
        id_start, label_start = self.ends[:, row - 1] if row else (0, 0)
        id_end, label_end = self.ends[:, row]
        with self.readable():
            ident = str(ids[id_start:id_end], "utf-8")
            label = str(labels[label_start:label_end], "utf-8")
        return Name(ident, label)

    def column(self, which: int) -> list[str]:
        """Returns every id (0) or every label (1)."""
        text = bytes(self.texts[which])
        column = []
        start = 0
        with self.readable():
            for end in self.ends[which].tolist():
                column.append(text[start:end].decode())
                start = end
        return column

    def have_label(self, label: str) -> np.ndarray:
        """Tells of each entry [rows] whether it has this label."""
        text = np.frombuffer(self.texts[1], np.uint8)
        ends = self.ends[1].astype(np.int64)
        starts = np.concatenate([[0], ends[:-1]])
        encoded = label.encode()
        rows = np.flatnonzero(ends - starts == len(encoded))
        for place, letter in enumerate(encoded):
            rows = rows[text[starts[rows] + place] == letter]
        found = np.zeros(len(ends), bool)
        found[rows] = True
        return found

    @contextlib.contextmanager
    def readable(self) -> Iterator[None]:
        """Tells of a damaged block where a name is no text."""
        try:
            yield
        except UnicodeDecodeError:
            raise damaged(
                self.block.path, self.block.offset, "an id or a label is no text"
            ) from None


class Cursor:
    """Takes arrays off a block's payload, one after the other."""

    def __init__(self, block: Block):
        self.block = block
        self.taken = 0

    def array(self, section: Section, dims: int = 0) -> np.ndarray:
        """Takes the next array, which is this section of the block."""
        shape = section.shape_of(self.block.rows, dims)
        size = math.prod(shape) * np.dtype(section.dtype).itemsize
        return np.frombuffer(self.bytes(size), section.dtype).reshape(shape)

    def bytes(self, count: int) -> memoryview:
        """Takes so many of the next bytes."""
        block, start = self.block, self.taken
        if count > len(block.payload) - start:
            raise damaged(block.path, block.offset, "a block is shorter than what it holds")
        self.taken = start + count
        return block.payload[start : self.taken]

    def rows(self, first: int, dims_of: Callable[[np.ndarray], int]) -> Rows:
        """Takes the block's embeddings.

        Args:
            first: How many rows the file has before them.
            dims_of: Returns the dimensions of rows that these encoders [rows] have made.
        """
        scale = self.array(SCALE)
        encoders = self.array(ENCODERS)
        dims = dims_of(encoders)
        high = self.array(HIGH, dims)
        low = self.array(LOW, dims)
        return Rows(first, Vectors(scale, high, low), encoders)


def encode_vectors(packed: Vectors, encoders: np.ndarray) -> list[bytes]:
    """Returns the bytes of embeddings, as `Cursor.rows` reads them."""
    arrays = (packed.scale, encoders, packed.high, packed.low)
    written = []
    for section, array in zip(VECTORS, arrays, strict=True):
        written.append(array.astype(section.dtype).tobytes())
    return written


def encode_entries(
    packed: Vectors, encoders: np.ndarray, ids: list[str], labels: list[str]
) -> list[bytes]:
    """Returns a block of new entries.

    Args:
        packed: Their embeddings.
        encoders: [entries] which of the gallery's encoders made each, in the order they came.
        ids: What each is called.
        labels: Whom each shows.
    """
    ends, texts = [], []
    for column in (ids, labels):
        encoded = [each.encode() for each in column]
        ends.append(np.cumsum([len(each) for each in encoded], dtype=np.uint64))
        texts.append(b"".join(encoded))
    ends_of_names = np.array(ends).astype(ENDS.dtype).tobytes()
    embeddings = encode_vectors(packed, encoders)
    return blocks.encode(ENTRIES, len(ids), ends_of_names, *embeddings, *texts)


def encode_replacements(packed: Vectors, encoders: np.ndarray, numbers: np.ndarray) -> list[bytes]:
    """Returns a block that embeds the entries with these numbers anew."""
    return encode_rows(REPLACEMENTS, packed, encoders, numbers)


def encode_moves(packed: Vectors, encoders: np.ndarray, numbers: np.ndarray) -> list[bytes]:
    """Returns a block that moves the entries with these numbers; what they were is kept."""
    return encode_rows(MOVES, packed, encoders, numbers)


def encode_rows(
    kind: bytes, packed: Vectors, encoders: np.ndarray, numbers: np.ndarray
) -> list[bytes]:
    """Returns a block of other embeddings of the entries with these numbers."""
    content = numbers.astype(NUMBERS.dtype).tobytes()
    return blocks.encode(kind, len(numbers), content, *encode_vectors(packed, encoders))


def encode_numbers(kind: bytes, numbers: np.ndarray) -> list[bytes]:
    """Returns a block that names entries: removals, restored or forgotten."""
    content = numbers.astype(NUMBERS.dtype).tobytes()
    return blocks.encode(kind, len(numbers), content)


def encode_fact(kind: bytes, fact: KnownEncoder | Compatibility) -> list[bytes]:
    """Returns a block of a fact, such as ENCODER."""
    text = json.dumps(written(fact))
    return blocks.encode(kind, 0, text.encode())


def written(fact: KnownEncoder | Compatibility) -> dict[str, Any]:
    """Returns what is written of a fact.

    What is as it always was before version 3 is left out, so that older programs read it.
    """
    values = asdict(fact)
    for each in fields(fact):
        if has_default(each) and values[each.name] == default_of(each):
            del values[each.name]
    return values


def is_new(fact: KnownEncoder | Compatibility) -> bool:
    """Tells whether only programs that know version 3 can read a fact."""
    needed = [each.name for each in fields(fact) if not has_default(each)]
    return list(written(fact)) != needed


def has_default(attribute: Field) -> bool:
    """Tells whether a fact may be without this attribute."""
    return attribute.default is not MISSING or attribute.default_factory is not MISSING


def default_of(attribute: Field) -> Any:
    """Returns what an attribute is where a fact is without it."""
    if attribute.default_factory is not MISSING:
        return attribute.default_factory()
    return attribute.default


def no_number(name: str) -> float:
    """Raises: NaN and Infinity are no JSON."""
    raise ValueError(f"{name} is no number")


def fact_of(block: Block, kind: type[Fact]) -> Fact:
    """Reads what such a block says."""
    block.check()
    payload = bytes(block.payload).rstrip(b"\0")  # without the padding
    try:
        text = payload.decode()
        found = kind(**json.loads(text, parse_constant=no_number))
    except (ValueError, TypeError, RecursionError):
        raise damaged(block.path, block.offset, f"it holds no {kind.__name__}") from None
    for field in fields(kind):
        if type(getattr(found, field.name)) is not field.type:
            raise damaged(block.path, block.offset, f"it holds no {kind.__name__}")
    return found
