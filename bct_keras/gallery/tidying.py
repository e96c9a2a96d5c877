"""A gallery file written anew: without what nobody finds any more, and in few blocks."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bct_keras.gallery import entry_blocks, layout, opening
from bct_keras.gallery.blocks import BlockFile
from bct_keras.gallery.changes import NONE
from bct_keras.gallery.contents import Contents
from bct_keras.gallery.facts import Compatibility, KnownEncoder


@dataclass(frozen=True)
class Tidied:
    """The file in the place of the former one."""

    file: BlockFile
    numbers: dict[str, int] | None  # of each id, where they have changed


def is_needed(contents: Contents, rows_at_once: int, spare_blocks: int) -> bool:
    """Tells whether a file is worth writing anew.

    It is where there are removed entries or forgotten vectors, many superseded rows, or too many
    blocks.

    Args:
        contents: What the file holds.
        rows_at_once: How many rows a block holds when the file is written anew.
        spare_blocks: How many blocks more than these the file may have.
    """
    if len(contents.removed) or contents.let_go:
        return True
    entries, rows = len(contents.numbers), len(contents.entry_of)
    many_blocks = len(contents.rows) - rows // rows_at_once > spare_blocks
    superseded = rows - entries - len(contents.originals())
    return many_blocks or superseded > entries / 2


class Tidying:
    """What is written of a file's content: its entries, a block at a time.

    The first vectors of an entry are its original, where it has one: what it was moved to comes
    after all entries.
    """

    def __init__(self, contents: Contents, rows_at_once: int):
        self.contents = contents
        self.rows_at_once = rows_at_once

    @cached_property
    def first_rows(self) -> np.ndarray:
        """Returns the row that is written first of each entry [all numbers]."""
        contents = self.contents
        return np.where(contents.original_of != NONE, contents.original_of, contents.row_of)

    @cached_property
    def used(self) -> np.ndarray:
        """Returns the places of the encoders [used] of whose vectors any is written."""
        contents = self.contents
        rows = np.concatenate(
            [contents.row_of[contents.numbers], self.first_rows[contents.numbers]]
        )
        return np.unique(contents.made_by[rows])

    @property
    def encoders(self) -> list[KnownEncoder]:
        """Returns the encoders that are written; of an empty gallery all that there were."""
        known = self.contents.encoders
        return [known[place] for place in self.used.tolist()] or known

    def makers(self, rows: np.ndarray) -> np.ndarray:
        """Returns which of the written encoders made each row [rows]."""
        places = np.searchsorted(self.used, self.contents.made_by[rows])
        return places.astype(np.uint16)

    @cached_property
    def numbers(self) -> np.ndarray:
        """Returns the entries [entries] in the order in which they are written.

        Those of the same dimensions are together, since a block has one number of them.
        """
        numbers = self.contents.numbers
        dims = self.dims_of(self.first_rows[numbers])
        return numbers[np.argsort(dims, kind="stable")]

    def dims_of(self, rows: np.ndarray) -> np.ndarray:
        """Returns the dimensions of each row [rows]."""
        dims_of_encoders = np.array([known.dims for known in self.contents.encoders], np.int64)
        return dims_of_encoders[self.contents.made_by[rows]]

    @property
    def first_dims(self) -> int:
        """Returns the dimensions of the first entry."""
        if not len(self.numbers):
            return self.contents.dims
        return int(self.dims_of(self.first_rows[self.numbers[:1]])[0])

    def lots(self, numbers: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yields places among entries that go into one block each; `rows` are their vectors."""
        places = np.arange(len(numbers))
        ends = np.flatnonzero(np.diff(self.dims_of(rows))) + 1
        for alike in np.split(places, ends):
            for start in range(0, len(alike), self.rows_at_once):
                yield alike[start : start + self.rows_at_once]

    def entries(self) -> Iterator[tuple[list[str], list[bytes]]]:
        """Yields blocks of entries, each with the ids in it."""
        contents = self.contents
        ids, labels = contents.ids(), contents.labels()
        in_order = np.array_equal(self.numbers, contents.numbers)
        names = zip(ids, labels, strict=True)
        if not in_order:
            everyone = list(names)
            places = np.searchsorted(contents.numbers, self.numbers)
            names = iter([everyone[place] for place in places.tolist()])
        rows = self.first_rows[self.numbers]
        for lot in self.lots(self.numbers, rows):
            some = list(itertools.islice(names, len(lot)))
            packed = contents.vectors_in_order(rows[lot])
            ids_of_lot = [ident for ident, _ in some]
            labels_of_lot = [label for _, label in some]
            yield (
                ids_of_lot,
                entry_blocks.encode_entries(
                    packed, self.makers(rows[lot]), ids_of_lot, labels_of_lot
                ),
            )

    def moves(self) -> Iterator[list[bytes]]:
        """Yields blocks of what entries were moved to."""
        contents = self.contents
        is_moved = contents.original_of[self.numbers] != NONE
        places = np.flatnonzero(is_moved)  # which are the entries' new numbers
        rows = contents.row_of[self.numbers[places]]
        order = np.argsort(self.dims_of(rows), kind="stable")
        places, rows = places[order], rows[order]
        for lot in self.lots(places, rows):
            packed = contents.vectors_in_order(rows[lot])
            yield entry_blocks.encode_moves(packed, self.makers(rows[lot]), places[lot])

    def facts(self) -> Iterator["FactBlock"]:
        """Yields the blocks of encoders and of what was declared."""
        for encoder in self.encoders:
            yield encoder_block(encoder, self.first_dims)
        for compatibility in self.contents.compatible:
            yield compatibility_block(compatibility)


@dataclass(frozen=True)
class FactBlock:
    """A block that tells a fact."""

    block: list[bytes]
    version: int  # that a file with it has


def encoder_block(encoder: KnownEncoder, first_dims: int) -> FactBlock:
    """Returns the block that names an encoder."""
    block = entry_blocks.encode_fact(layout.ENCODER, encoder)
    is_new = entry_blocks.is_new(encoder) or encoder.dims != first_dims
    return FactBlock(block, layout.VERSION_WITH_SPACES if is_new else layout.VERSION)


def compatibility_block(compatibility: Compatibility) -> FactBlock:
    """Returns the block that declares it."""
    block = entry_blocks.encode_fact(layout.COMPATIBLE, compatibility)
    is_new = entry_blocks.is_new(compatibility)
    return FactBlock(block, layout.VERSION_WITH_SPACES if is_new else layout.VERSION)


def written_anew(file: BlockFile, contents: Contents, rows_at_once: int) -> Tidied:
    """Writes the file's entries anew, so many in a block, and puts that in the file's place."""
    tidying = Tidying(contents, rows_at_once)
    renumbered = len(contents.removed) > 0 or not np.array_equal(tidying.numbers, contents.numbers)
    numbers_of: dict[str, int] = {}
    with opening.replacement(file, tidying.first_dims) as tidied:
        facts = list(tidying.facts())
        version = max([fact.version for fact in facts], default=layout.VERSION)
        tidied.append(*[fact.block for fact in facts], version=version)
        start = 0
        for ids, block in tidying.entries():
            tidied.append(block)
            if renumbered:  # the others move up to the numbers of those that were removed
                numbers_of.update(zip(ids, range(start, start + len(ids)), strict=True))
            start += len(ids)
        for block in tidying.moves():
            tidied.append(block, version=layout.VERSION_WITH_SPACES)
    return Tidied(tidied, numbers_of if renumbered else None)
