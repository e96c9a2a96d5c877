"""What the blocks of a gallery file say, taken together.

A new entry gets the next number and is a row of an ENTRIES block; embedding it anew adds a row of a REPLACEMENTS block.
Each entry's latest row is its live one, so that it is there exactly once at any moment. A REMOVALS block names entries
that are there no more: none of their rows is live, and their numbers are not given again. An id that is added again
after its removal is a new entry.
"""

import contextlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import TypeVar

import numpy as np

from bct_keras.galleries import blocks, vectors
from bct_keras.galleries.blocks import Block, damaged
from bct_keras.galleries.gallery import Compatibility, KnownEncoder
from bct_keras.galleries.vectors import Vectors

ENTRIES = b"ENTR"
REPLACEMENTS = b"REPL"
REMOVALS = b"REMO"
ENCODER = b"ENCO"
COMPATIBLE = b"COMP"

Fact = TypeVar("Fact", KnownEncoder, Compatibility)

QUERIES_AT_ONCE = 16
# A coarse score is off by less than 0.002, so of random entries far fewer than these lie between it and the true one.
SPARE_CANDIDATES = 128
REMOVED = -1  # in the place of an entry's live row


@dataclass(frozen=True)
class Rows:
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

    def of(self, row: int) -> tuple[str, str]:
        starts = self.ends[:, row - 1] if row else (0, 0)
        with self.readable():
            each = zip(self.texts, starts, self.ends[:, row], strict=True)
            ident, label = (str(text[start:end], "utf-8") for text, start, end in each)
        return ident, label

    def column(self, which: int) -> list[str]:
        """Every id (0) or every label (1)."""
        text = bytes(self.texts[which])
        with self.readable():
            return [
                text[start:end].decode()
                for start, end in itertools.pairwise([0, *self.ends[which].tolist()])
            ]

    @contextlib.contextmanager
    def readable(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError:
            raise damaged(
                self.block.path, self.block.offset, "an id or a label is no text"
            ) from None


class Cursor:
    """Takes arrays off a block's payload, one after the other."""

    def __init__(self, block: Block):
        self.block, self.taken = block, 0

    def array(self, dtype: str, *shape: int) -> np.ndarray:
        return np.frombuffer(
            self.bytes(math.prod(shape) * np.dtype(dtype).itemsize), dtype
        ).reshape(shape)

    def bytes(self, count: int) -> memoryview:
        if count > len(self.block.payload) - self.taken:
            raise damaged(
                self.block.path, self.block.offset, "a block is shorter than what it holds"
            )
        self.taken += count
        return self.block.payload[self.taken - count : self.taken]

    def vectors(self, dims: int) -> tuple[Vectors, np.ndarray]:
        rows = self.block.rows
        scale, encoders = self.array("<f4", rows), self.array("<u2", rows)
        return Vectors(scale, self.array("i1", rows, dims), self.array("i1", rows, dims)), encoders


def encode_vectors(packed: Vectors, encoders: np.ndarray) -> list[bytes]:
    arrays = (packed.scale.astype("<f4"), encoders.astype("<u2"), packed.high, packed.low)
    return [array.tobytes() for array in arrays]


def encode_entries(
    packed: Vectors, encoders: np.ndarray, ids: list[str], labels: list[str]
) -> list[bytes]:
    texts = [[each.encode() for each in column] for column in (ids, labels)]
    ends = np.array(
        [np.cumsum([len(each) for each in column], dtype=np.uint64) for column in texts]
    )
    joined = [b"".join(column) for column in texts]
    return blocks.encode(
        ENTRIES, len(ids), ends.astype("<u4").tobytes(), *encode_vectors(packed, encoders), *joined
    )


def encode_replacements(packed: Vectors, encoders: np.ndarray, numbers: np.ndarray) -> list[bytes]:
    return blocks.encode(
        REPLACEMENTS,
        len(numbers),
        numbers.astype("<u8").tobytes(),
        *encode_vectors(packed, encoders),
    )


def encode_removals(numbers: np.ndarray) -> list[bytes]:
    return blocks.encode(REMOVALS, len(numbers), numbers.astype("<u8").tobytes())


def encode_fact(kind: bytes, fact: KnownEncoder | Compatibility) -> list[bytes]:
    return blocks.encode(kind, 0, json.dumps(asdict(fact)).encode())


class Contents:
    def __init__(self, dims: int):
        self.dims = dims
        self.encoders: list[KnownEncoder] = []
        self.compatible: list[Compatibility] = []
        self.rows: list[Rows] = []
        self.names: list[Names] = []
        # [all numbers]: the live row of each, or REMOVED
        self.row_of = np.zeros(0, np.int64)
        self.numbers = np.zeros(0, np.int64)  # [entries]: those that are there, in rising order
        self.removed = np.zeros(0, np.int64)
        self.entry_of = np.zeros(0, np.int64)  # [rows]
        self.live = np.zeros(0, bool)  # [rows]
        self.encoder_of = np.zeros(
            0, np.uint16
        )  # [all numbers]: which of the encoders made each that is there
        self.in_use: dict[KnownEncoder, int] = {}  # how many entries each has made

    def extend(self, added: Iterable[Block]) -> None:
        readers = {
            ENTRIES: self._read_entries,
            REPLACEMENTS: self._read_replacements,
            REMOVALS: self._read_removals,
            ENCODER: self._read_encoder,
            COMPATIBLE: lambda block: self.compatible.append(fact_of(block, Compatibility)),
        }
        entries, entry_of = len(self.row_of), [self.entry_of]
        for block in added:
            if block.kind not in readers:
                raise damaged(block.path, block.offset, f"a block of unknown kind {block.kind!r}")
            numbers = readers[block.kind](block)
            if numbers is not None:
                entry_of.append(numbers)
        self.entry_of = np.concatenate(entry_of)
        # The last assignment to an entry stands, and rows come in the order in which they were written.
        row_of = np.concatenate([self.row_of, np.zeros(self._entries() - entries, np.int64)])
        first = len(entry_of[0])
        row_of[self.entry_of[first:]] = np.arange(first, len(self.entry_of))
        row_of[self.removed] = REMOVED
        self.row_of = row_of
        self.numbers = np.flatnonzero(row_of != REMOVED)
        self.live = np.zeros(len(self.entry_of), bool)
        self.live[row_of[self.numbers]] = True
        if self.rows:
            # The row REMOVED is the last one; nobody asks who made an entry that is there no more.
            self.encoder_of = np.concatenate([part.encoders for part in self.rows])[row_of]
        made = np.bincount(self.encoder_of[self.numbers], minlength=len(self.encoders)).tolist()
        self.in_use = {
            known: count for known, count in zip(self.encoders, made, strict=True) if count
        }

    def _entries(self) -> int:
        return self.names[-1].first + self.names[-1].ends.shape[1] if self.names else 0

    def _read_encoder(self, block: Block) -> None:
        encoder = fact_of(block, KnownEncoder)
        if encoder.dims != self.dims:
            raise damaged(
                block.path,
                block.offset,
                f"an encoder of {encoder.dims} dimensions among {self.dims}",
            )
        self.encoders.append(encoder)

    def _read_entries(self, block: Block) -> np.ndarray:
        cursor, first = Cursor(block), self._entries()
        ends = cursor.array("<u4", 2, block.rows)
        self._read_rows(block, *cursor.vectors(self.dims))
        if not block.rows or (np.diff(ends.astype(np.int64)) < 0).any():
            raise damaged(block.path, block.offset, "ids or labels that end before they begin")
        id_text, label_text = (cursor.bytes(int(end)) for end in ends[:, -1])
        self.names.append(Names(first, ends, (id_text, label_text), block))
        return np.arange(first, first + block.rows)

    def _read_replacements(self, block: Block) -> np.ndarray:
        cursor = Cursor(block)
        numbers = self._numbers_there(block, cursor, "embeds an entry anew")
        self._read_rows(block, *cursor.vectors(self.dims))
        return numbers

    def _read_removals(self, block: Block) -> None:
        block.check()  # now: a search must not leave out others
        numbers = self._numbers_there(block, Cursor(block), "removes an entry")
        self.removed = np.concatenate([self.removed, numbers])

    def _numbers_there(self, block: Block, cursor: Cursor, what: str) -> np.ndarray:
        numbers = cursor.array("<u8", block.rows)
        if block.rows and (
            numbers.max() >= self._entries() or np.isin(numbers, self.removed).any()
        ):
            raise damaged(block.path, block.offset, f"it {what} that is not there")
        return numbers.astype(np.int64)

    def _read_rows(self, block: Block, packed: Vectors, encoders: np.ndarray) -> None:
        if block.rows and encoders.max() >= len(self.encoders):
            raise damaged(block.path, block.offset, "it names an encoder that is not there")
        self.rows.append(
            Rows(
                self.rows[-1].first + len(self.rows[-1].vectors) if self.rows else 0,
                packed,
                encoders,
            )
        )

    def name_of(self, number: int) -> tuple[str, str]:
        """The id and the label of an entry."""
        block = (
            int(np.searchsorted([names.first for names in self.names], number, side="right")) - 1
        )
        return self.names[block].of(number - self.names[block].first)

    def ids(self) -> Iterator[str]:
        """Of each entry that is there, in the order of their numbers."""
        return self._column(0)

    def labels(self) -> Iterator[str]:
        return self._column(1)

    def _column(self, which: int) -> Iterator[str]:
        ever = itertools.chain.from_iterable(names.column(which) for names in self.names)
        return itertools.compress(ever, (self.row_of != REMOVED).tolist())

    def vectors_of(self, rows: np.ndarray) -> Vectors:
        """Those of the given rows, which have to rise."""
        cuts = np.searchsorted(rows, [part.first for part in self.rows])
        pieces = []
        for part, inside in zip(self.rows, np.split(rows, cuts[1:]), strict=True):
            if len(inside):
                pieces.append(part.vectors[inside - part.first])
        planes = ("scale", "high", "low")
        return Vectors(
            *(np.concatenate([getattr(piece, plane) for piece in pieces]) for plane in planes)
        )

    def nearest(self, queries: np.ndarray, top: int) -> Iterator[list[tuple[int, float]]]:
        """[queries, dims] of length 1 -> for each the numbers and scores of its `top` entries, the best first."""
        if not len(self.numbers):
            yield from ([] for _ in queries)
            return
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            several = queries[start : start + QUERIES_AT_ONCE]
            packed = vectors.pack(several)
            coarse = np.concatenate(
                [vectors.coarse_scores(packed, part.vectors) for part in self.rows], axis=1
            )
            if not self.live.all():
                coarse[:, ~self.live] = -np.inf
            for query, scores in zip(several, coarse, strict=True):
                yield self._ranked(query, scores, top)

    def _ranked(self, query: np.ndarray, coarse: np.ndarray, top: int) -> list[tuple[int, float]]:
        candidates = vectors.best(coarse, min(2 * top + SPARE_CANDIDATES, len(self.numbers)))
        # Not as a matrix product, whose rounding depends on a row's place: equal embeddings have equal scores.
        scores = (vectors.unpack(self.vectors_of(candidates)) * query).sum(axis=1)
        numbers = self.entry_of[candidates]
        order = np.lexsort((numbers, -scores))[:top]  # of equal scores the older entry comes first
        return list(zip(numbers[order].tolist(), scores[order].tolist(), strict=True))


def fact_of(block: Block, kind: type[Fact]) -> Fact:
    block.check()
    try:
        found = kind(**json.loads(bytes(block.payload).rstrip(b"\0")))
    except (ValueError, TypeError, RecursionError):
        raise damaged(block.path, block.offset, f"it holds no {kind.__name__}") from None
    for field in fields(kind):
        if type(getattr(found, field.name)) is not field.type:
            raise damaged(block.path, block.offset, f"it holds no {kind.__name__}")
    return found
