"""What the blocks of a gallery file say, taken together.

A new entry gets the next number and is a row of an ENTRIES block; embedding it anew adds a row of a
REPLACEMENTS block. Each entry's latest row is its live one, so that it is there exactly once at any
moment. A REMOVALS block names entries that are there no more: none of their rows is live, and their
numbers are not given again. An id that is added again after its removal is a new entry.
"""

import bisect
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from bct_keras.gallery import vectors
from bct_keras.gallery.blocks import Block, damaged
from bct_keras.gallery.entry_blocks import (
    COMPATIBLE,
    ENCODER,
    ENTRIES,
    REMOVALS,
    REPLACEMENTS,
    Cursor,
    Name,
    Names,
    Rows,
    fact_of,
)
from bct_keras.gallery.gallery import Compatibility, KnownEncoder
from bct_keras.gallery.vectors import Vectors

QUERIES_AT_ONCE = 16
# A coarse score is off by less than 0.002, so of random entries far fewer than these lie between it
# and the true one.
SPARE_CANDIDATES = 128
REMOVED = -1  # in the place of an entry's live row


class Found(NamedTuple):
    """An entry that a search finds."""

    number: int
    score: float


class Contents:
    """Everything that is in the file, kept up to date as blocks are added."""

    def __init__(self, dims: int):
        self.dims = dims
        self.encoders: list[KnownEncoder] = []
        self.compatible: list[Compatibility] = []
        self.rows: list[Rows] = []
        self.names: list[Names] = []
        none = np.zeros(0, np.int64)
        self.row_of = none  # [all numbers]: the live row of each, or REMOVED
        self.numbers = none  # [entries]: those that are there, in rising order
        self.removed = none
        self.entry_of = none  # [rows]
        self.live = np.zeros(0, bool)  # [rows]
        # [all numbers]: which of the encoders made each that is there
        self.encoder_of = np.zeros(0, np.uint16)
        self.in_use: dict[KnownEncoder, int] = {}  # how many entries each has made

    def extend(self, added: Iterable[Block]) -> None:
        """Takes in blocks that were added to the file."""
        readers = {
            ENTRIES: self._read_entries,
            REPLACEMENTS: self._read_replacements,
            REMOVALS: self._read_removals,
            ENCODER: self._read_encoder,
            COMPATIBLE: self._read_compatibility,
        }
        numbers_of_rows = []
        for block in added:
            if block.kind not in readers:
                raise damaged(block.path, block.offset, f"a block of unknown kind {block.kind!r}")
            numbers = readers[block.kind](block)
            if numbers is not None:
                numbers_of_rows.append(numbers)
        self._find_live_rows(numbers_of_rows)
        self._count_entries()

    def _find_live_rows(self, numbers_of_rows: list[np.ndarray]) -> None:
        """Finds each entry's live row; those of the rows that were added are given by blocks."""
        first = len(self.entry_of)
        self.entry_of = np.concatenate([self.entry_of, *numbers_of_rows])
        rows = len(self.entry_of)
        new = np.zeros(self._entries() - len(self.row_of), np.int64)
        row_of = np.concatenate([self.row_of, new])
        # The last assignment to an entry stands, and rows come in the order in which they were
        # written.
        row_of[self.entry_of[first:]] = np.arange(first, rows)
        row_of[self.removed] = REMOVED
        self.row_of = row_of
        self.numbers = np.flatnonzero(row_of != REMOVED)
        self.live = np.zeros(rows, bool)
        self.live[row_of[self.numbers]] = True

    def _count_entries(self) -> None:
        """Finds which encoder made each entry, and how many each has made."""
        if self.rows:
            made_by = np.concatenate([part.encoders for part in self.rows])  # [rows]
            # The row REMOVED is the last one; nobody asks who made an entry that is there no more.
            self.encoder_of = made_by[self.row_of]
        there = self.encoder_of[self.numbers]
        counts = np.bincount(there, minlength=len(self.encoders)).tolist()
        self.in_use = {}
        for known, count in zip(self.encoders, counts, strict=True):
            if count:
                self.in_use[known] = count

    def _entries(self) -> int:
        """Returns how many numbers were given so far."""
        if not self.names:
            return 0
        last = self.names[-1]
        return last.first + last.ends.shape[1]

    def _read_compatibility(self, block: Block) -> None:
        """Takes in which queries fit which entries."""
        self.compatible.append(fact_of(block, Compatibility))

    def _read_encoder(self, block: Block) -> None:
        """Takes in an encoder."""
        encoder = fact_of(block, KnownEncoder)
        if encoder.dims != self.dims:
            raise damaged(
                block.path,
                block.offset,
                f"an encoder of {encoder.dims} dimensions among {self.dims}",
            )
        self.encoders.append(encoder)

    def _read_entries(self, block: Block) -> np.ndarray:
        """Takes in new entries; returns their numbers."""
        cursor = Cursor(block)
        first = self._entries()
        ends = cursor.array("<u4", 2, block.rows)
        self._read_rows(block, cursor)
        if not block.rows or (np.diff(ends.astype(np.int64)) < 0).any():
            raise damaged(block.path, block.offset, "ids or labels that end before they begin")
        id_bytes, label_bytes = ends[:, -1].tolist()
        texts = (cursor.bytes(id_bytes), cursor.bytes(label_bytes))
        self.names.append(Names(first, ends, texts, block))
        return np.arange(first, first + block.rows)

    def _read_replacements(self, block: Block) -> np.ndarray:
        """Takes in entries embedded anew; returns their numbers."""
        cursor = Cursor(block)
        numbers = self._numbers_there(block, cursor, "embeds an entry anew")
        self._read_rows(block, cursor)
        return numbers

    def _read_removals(self, block: Block) -> None:
        """Takes in which entries are removed."""
        block.check()  # now: a search must not leave out others
        numbers = self._numbers_there(block, Cursor(block), "removes an entry")
        self.removed = np.concatenate([self.removed, numbers])

    def _numbers_there(self, block: Block, cursor: Cursor, what: str) -> np.ndarray:
        """Reads numbers of entries; refuses those that are not there."""
        numbers = cursor.array("<u8", block.rows)
        if block.rows:
            never_given = numbers.max() >= self._entries()
            if never_given or np.isin(numbers, self.removed).any():
                raise damaged(block.path, block.offset, f"it {what} that is not there")
        return numbers.astype(np.int64)

    def _read_rows(self, block: Block, cursor: Cursor) -> None:
        """Takes in a block's embeddings."""
        first = 0
        if self.rows:
            last = self.rows[-1]
            first = last.first + len(last.vectors)
        rows = cursor.rows(first, self.dims)
        if block.rows and rows.encoders.max() >= len(self.encoders):
            raise damaged(block.path, block.offset, "it names an encoder that is not there")
        self.rows.append(rows)

    def name_of(self, number: int) -> Name:
        """Returns the id and the label of an entry."""
        firsts = [names.first for names in self.names]
        block = bisect.bisect_right(firsts, number) - 1
        names = self.names[block]
        return names.of(number - names.first)

    def ids(self) -> Iterator[str]:
        """Yields that of each entry that is there, in the order of their numbers."""
        return self._column(0)

    def labels(self) -> Iterator[str]:
        """Yields that of each entry that is there, in the order of their numbers."""
        return self._column(1)

    def _column(self, which: int) -> Iterator[str]:
        """Yields the ids (0) or the labels (1) of entries that are there."""
        ever = itertools.chain.from_iterable(names.column(which) for names in self.names)
        return itertools.compress(ever, (self.row_of != REMOVED).tolist())

    def vectors_of(self, rows: np.ndarray) -> Vectors:
        """Returns the embeddings in the given rows, which have to rise."""
        cuts = np.searchsorted(rows, [part.first for part in self.rows])
        pieces = []
        for part, inside in zip(self.rows, np.split(rows, cuts[1:]), strict=True):
            if len(inside):
                pieces.append(part.vectors[inside - part.first])
        return Vectors(
            scale=np.concatenate([piece.scale for piece in pieces]),
            high=np.concatenate([piece.high for piece in pieces]),
            low=np.concatenate([piece.low for piece in pieces]),
        )

    def nearest(self, queries: np.ndarray, top: int) -> Iterator[list[Found]]:
        """Yields for each query [queries, dims], of length 1, its `top` entries, the best first."""
        if not len(self.numbers):
            for _ in queries:
                yield []
            return
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            several = queries[start : start + QUERIES_AT_ONCE]
            packed = vectors.pack(several)
            scores = [vectors.coarse_scores(packed, part.vectors) for part in self.rows]
            coarse = np.concatenate(scores, axis=1)  # [queries, rows]
            if not self.live.all():
                coarse[:, ~self.live] = -np.inf
            for query, scores_of_query in zip(several, coarse, strict=True):
                yield self._ranked(query, scores_of_query, top)

    def _ranked(self, query: np.ndarray, coarse: np.ndarray, top: int) -> list[Found]:
        """Scores the entries that are best by coarse scores [rows] again; returns the best."""
        count = min(2 * top + SPARE_CANDIDATES, len(self.numbers))
        candidates = vectors.best(coarse, count)
        embeddings = vectors.unpack(self.vectors_of(candidates))  # [candidates, dims]
        # Not as a matrix product, whose rounding depends on a row's place: equal embeddings have
        # equal scores.
        scores = (embeddings * query).sum(axis=1)
        numbers = self.entry_of[candidates]
        order = np.lexsort((numbers, -scores))  # of equal scores the older entry comes first
        found = []
        for place in order[:top]:
            found.append(Found(int(numbers[place]), float(scores[place])))
        return found
