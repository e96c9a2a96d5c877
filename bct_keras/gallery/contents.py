"""What the blocks of a gallery file say, taken together.

A new entry gets the next number and is a row of an ENTRIES block; embedding it anew adds a row of a
REPLACEMENTS block. Each entry's latest row is its live one, so that it is there exactly once at any
moment. A row of a MOVES block is an entry's live one too; the one before it is kept as the entry's
original, which a RESTORED block makes live again and a FORGOTTEN block lets go. A REMOVALS block
names entries that are there no more: none of their rows is live, and their numbers are not given
again. An id that is added again after its removal is a new entry.
"""

import bisect
import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from bct_keras.errors import InputError
from bct_keras.gallery.blocks import Block, damaged
from bct_keras.gallery.changes import NONE, REMOVED, Change, apply
from bct_keras.gallery.entry_blocks import Cursor, Name, Names, Rows, fact_of
from bct_keras.gallery.facts import BY_COMPATIBLE, BY_EMBEDDING, Compatibility, KnownEncoder
from bct_keras.gallery.layout import (
    COMPATIBLE,
    ENCODER,
    ENDS,
    ENTRIES,
    FORGOTTEN,
    LARGEST_SCALE,
    MOVES,
    NUMBERS,
    REMOVALS,
    REPLACEMENTS,
    RESTORED,
)
from bct_keras.gallery.vectors import Vectors, joined


class Contents:
    """Everything that is in the file, kept up to date as blocks are added."""

    def __init__(self, dims: int):
        self.dims = dims  # of the encoder that began the gallery
        self.encoders: list[KnownEncoder] = []
        self.compatible: list[Compatibility] = []
        self.rows: list[Rows] = []
        self.names: list[Names] = []
        none = np.zeros(0, np.int64)
        self.row_of = none  # [all numbers]: the live row of each, or REMOVED
        self.original_of = none  # [all numbers]: the row of its vector before it was moved, or NONE
        self.numbers = none  # [entries]: those that are there, in rising order
        self.removed = none
        self.entry_of = none  # [rows]
        self.live = np.zeros(0, bool)  # [rows]
        self.made_by = np.zeros(0, np.uint16)  # [rows]: which of the encoders
        # [all numbers]: which of the encoders made each that is there
        self.encoder_of = np.zeros(0, np.uint16)
        self.in_use: dict[KnownEncoder, int] = {}  # how many entries each has made
        self.let_go = 0  # how many vectors were restored or forgotten since the file was tidied

    def extend(self, added: Iterable[Block]) -> None:
        """Takes in blocks that were added to the file."""
        readers = {
            ENTRIES: self._read_entries,
            REPLACEMENTS: self._read_replacements,
            MOVES: self._read_replacements,
            RESTORED: self._read_let_go,
            FORGOTTEN: self._read_let_go,
            REMOVALS: self._read_removals,
            ENCODER: self._read_encoder,
            COMPATIBLE: self._read_compatibility,
        }
        changes = []
        for block in added:
            if block.kind not in readers:
                raise damaged(block.path, block.offset, f"a block of unknown kind {block.kind!r}")
            change = readers[block.kind](block)
            if change is not None:
                changes.append(change)
        self._find_rows(changes)
        self._count_entries()

    def _find_rows(self, changes: list[Change]) -> None:
        """Finds each entry's live row and its original; the rows that were added are there."""
        there = len(self.row_of)
        new = self._entries() - there
        self.row_of = np.concatenate([self.row_of, np.full(new, REMOVED)])
        self.original_of = np.concatenate([self.original_of, np.full(new, NONE)])
        entries_of_rows = [self.entry_of]
        for change in changes:
            self.let_go += apply(change, self.row_of, self.original_of)
            if change.kind in (ENTRIES, REPLACEMENTS, MOVES):
                entries_of_rows.append(change.numbers)
        self.entry_of = np.concatenate(entries_of_rows)
        self.row_of[self.removed] = REMOVED
        self.original_of[self.removed] = NONE
        self.numbers = np.flatnonzero(self.row_of != REMOVED)
        self.live = np.zeros(len(self.entry_of), bool)
        self.live[self.row_of[self.numbers]] = True

    def _count_entries(self) -> None:
        """Finds which encoder made each entry, and how many each has made."""
        if self.rows:
            self.made_by = np.concatenate([part.encoders for part in self.rows])
            # The row REMOVED is the last one; nobody asks who made an entry that is there no more.
            self.encoder_of = self.made_by[self.row_of]
        there = self.encoder_of[self.numbers]
        self.in_use = self._counted(there)

    def _counted(self, makers: np.ndarray) -> dict[KnownEncoder, int]:
        """Returns how often each encoder is among these places of encoders."""
        counts = np.bincount(makers, minlength=len(self.encoders)).tolist()
        found = {}
        for known, count in zip(self.encoders, counts, strict=True):
            if count:
                found[known] = count
        return found

    def numbers_of(self, encoder: KnownEncoder) -> np.ndarray:
        """Returns the entries [entries] that an encoder has made."""
        if encoder not in self.encoders:
            return np.zeros(0, np.int64)
        makers = self.encoder_of[self.numbers]
        return self.numbers[makers == self.encoders.index(encoder)]

    def originals(self) -> np.ndarray:
        """Returns the entries [entries] whose vectors from before they were moved are kept."""
        return np.flatnonzero(self.original_of != NONE)

    def behind(self, encoder: KnownEncoder) -> dict[KnownEncoder, int]:
        """Returns the encoders of the originals of an encoder's entries.

        It is empty where one of these entries has none.
        """
        rows = self.original_of[self.numbers_of(encoder)]
        if not len(rows) or (rows == NONE).any():
            return {}
        return self._counted(self.made_by[rows])

    def _entries(self) -> int:
        """Returns how many numbers were given so far."""
        if not self.names:
            return 0
        last = self.names[-1]
        return last.first + last.ends.shape[1]

    def _read_compatibility(self, block: Block) -> None:
        """Takes in which queries fit which entries."""
        fact = fact_of(block, Compatibility)
        try:
            known = fact.by in (BY_EMBEDDING, BY_COMPATIBLE) and (fact.odds or True)
        except (InputError, ArithmeticError, TypeError, ValueError):
            known = False
        if not known:
            raise damaged(block.path, block.offset, "a calibration or an embedding is none")
        self.compatible.append(fact)

    def _read_encoder(self, block: Block) -> None:
        """Takes in an encoder."""
        encoder = fact_of(block, KnownEncoder)
        if encoder.dims < 1:
            raise damaged(block.path, block.offset, f"an encoder of {encoder.dims} dimensions")
        if encoder in self.encoders:
            raise damaged(block.path, block.offset, f"the encoder {encoder} is there twice")
        self.encoders.append(encoder)

    def _read_entries(self, block: Block) -> Change:
        """Takes in new entries."""
        cursor = Cursor(block)
        first = self._entries()
        ends = cursor.array(ENDS)
        row = self._read_rows(block, cursor)
        if not block.rows or (np.diff(ends.astype(np.int64)) < 0).any():
            raise damaged(block.path, block.offset, "ids or labels that end before they begin")
        id_bytes, label_bytes = ends[:, -1].tolist()
        texts = (cursor.bytes(id_bytes), cursor.bytes(label_bytes))
        self.names.append(Names(first, ends, texts, block))
        numbers = np.arange(first, first + block.rows)
        return Change(block.kind, numbers, block, row)

    def _read_replacements(self, block: Block) -> Change:
        """Takes in entries embedded anew, or moved."""
        cursor = Cursor(block)
        numbers = self._numbers_there(block, cursor, "embeds an entry anew")
        row = self._read_rows(block, cursor)
        return Change(block.kind, numbers, block, row)

    def _read_let_go(self, block: Block) -> Change:
        """Takes in which entries have their originals again, or have none any more."""
        block.check()  # now: a search must not take the wrong vectors
        numbers = self._numbers_there(block, Cursor(block), "lets go a vector of an entry")
        return Change(block.kind, numbers, block)

    def _read_removals(self, block: Block) -> Change:
        """Takes in which entries are removed."""
        block.check()  # now: a search must not leave out others
        numbers = self._numbers_there(block, Cursor(block), "removes an entry")
        self.removed = np.concatenate([self.removed, numbers])
        return Change(block.kind, numbers, block)

    def _numbers_there(self, block: Block, cursor: Cursor, what: str) -> np.ndarray:
        """Reads numbers of entries; refuses those that are not there."""
        numbers = cursor.array(NUMBERS)
        if block.rows:
            never_given = numbers.max() >= self._entries()
            if never_given or np.isin(numbers, self.removed).any():
                raise damaged(block.path, block.offset, f"it {what} that is not there")
        return numbers.astype(np.int64)

    def _read_rows(self, block: Block, cursor: Cursor) -> int:
        """Takes in a block's embeddings; returns which row is the first of them."""
        first = 0
        if self.rows:
            last = self.rows[-1]
            first = last.first + len(last.vectors)
        rows = cursor.rows(first, lambda encoders: self._dims_of(block, encoders))
        scale = rows.vectors.scale
        if len(scale) and not 0.0 < scale.min() <= scale.max() < LARGEST_SCALE:
            raise damaged(block.path, block.offset, "it holds a scale that no embedding has")
        self.rows.append(rows)
        return first

    def _dims_of(self, block: Block, makers: np.ndarray) -> int:
        """Returns the dimensions of a block's rows by their encoders [rows]; all have the same."""
        if not len(makers):
            return self.dims
        if makers.max() >= len(self.encoders):
            raise damaged(block.path, block.offset, "it names an encoder that is not there")
        dims = {self.encoders[maker].dims for maker in np.unique(makers).tolist()}
        if len(dims) > 1:
            raise damaged(block.path, block.offset, "its rows are of several dimensions")
        return dims.pop()

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

    def have_label(self, labels: Iterable[str]) -> np.ndarray:
        """Tells of all numbers [all numbers] whether the entry has one of these labels."""
        found = np.zeros(len(self.row_of), bool)
        for label in labels:
            found |= np.concatenate([names.have_label(label) for names in self.names])
        return found

    def vectors_of(self, rows: np.ndarray) -> Vectors:
        """Returns the embeddings in the given rows, which have to rise, of the same dimensions."""
        cuts = np.searchsorted(rows, [part.first for part in self.rows])
        pieces = []
        for part, inside in zip(self.rows, np.split(rows, cuts[1:]), strict=True):
            if len(inside):
                pieces.append(part.vectors[inside - part.first])
        return joined(pieces)

    def vectors_in_order(self, rows: np.ndarray) -> Vectors:
        """Returns the embeddings in the given rows, in their order, of the same dimensions."""
        rising = np.argsort(rows)
        return self.vectors_of(rows[rising])[np.argsort(rising)]
