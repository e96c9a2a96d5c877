"""A gallery in one memory-mapped file, which the device reads as it is.

A format of our own is kept on purpose: an index file of a library such as Faiss says nothing of the
encoder that made an entry, and is written as a whole, where a gallery is appended to while others
search it. The layout of the file stands in blocks.py.
"""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from bct_keras.errors import InputError
from bct_keras.gallery import blocks, entry_blocks, layout, opening, tidying, vectors
from bct_keras.gallery.entering import moved_units
from bct_keras.gallery.facts import Compatibility, KnownEncoder, LetGo, Removal, first_positions
from bct_keras.gallery.file_reader import FileReader
from bct_keras.gallery.gallery import Transform

ROWS_AT_ONCE = 65_536
# Blocks more than the entries need, from which on a writer puts them together: when it ends, and
# while it goes on. Each costs a search some microseconds, and putting them together writes the
# whole file.
SPARE_BLOCKS = 64
SPARE_BLOCKS_MEANWHILE = 1024
AGAIN = {"remove": ", with the same ids and labels"}


@dataclass(frozen=True)
class Maker:
    """The encoder of rows to be written, as the file knows it."""

    facts: list[list[bytes]]  # the block that names it, where the file does not know it yet
    place: int  # among the file's encoders
    version: int  # that a file with such rows has

    def of(self, rows: int) -> np.ndarray:
        """Returns its place [rows] once for each row."""
        return np.full(rows, self.place, np.uint16)


@dataclass(frozen=True)
class Chosen:
    """Which entries are to be removed, and what was asked for and is not there."""

    numbers: set[int]
    unknown_ids: list[str]
    unknown_labels: list[str]


class FileGallery(FileReader):
    """Many readers and one writer at a time, of any processes; each thread has its own.

    The first that writes takes the lock, and has it until it closes. A writer that ends leaves no
    bytes of removed entries behind: it writes the file anew without them, which any later one does
    for it where it was stopped before.
    """

    def __init__(self, path: str):
        super().__init__(path)
        # Of each id; only a writer has it, and with it the lock.
        self.numbers: dict[str, int] | None = None
        self.made = False  # whether this writer made the file and has added nothing to it yet

    def _add(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], units: np.ndarray
    ) -> int:
        """Adds entries that are checked; returns how many are new."""
        new = []
        for ident, position in first_positions(ids).items():
            if ident not in self._numbers():
                new.append(position)
        for start in range(0, len(new), ROWS_AT_ONCE):
            some = new[start : start + ROWS_AT_ONCE]
            self._add_block(
                encoder,
                [ids[position] for position in some],
                [labels[position] for position in some],
                units[some],
            )
        return len(new)

    def _add_block(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], units: np.ndarray
    ) -> None:
        """Adds new entries in one block."""
        maker = self._maker(encoder)
        packed = vectors.pack(units)
        entries = entry_blocks.encode_entries(packed, maker.of(len(ids)), ids, labels)
        first = len(self.contents.row_of)
        self._commit(*maker.facts, entries, version=maker.version)
        self.made = False
        for number, ident in enumerate(ids, first):
            self._numbers()[ident] = number
        self._tidy(SPARE_BLOCKS_MEANWHILE)

    def _replace(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], units: np.ndarray
    ) -> int:
        """Embeds entries anew that are checked; returns how many."""
        known = self._numbers()
        positions, numbers = [], []
        for position, ident in enumerate(ids):
            if ident in known:
                positions.append(position)
                numbers.append(known[ident])
        if positions:
            maker = self._maker(encoder)
            packed = vectors.pack(units[positions])
            replacements = entry_blocks.encode_replacements(
                packed, maker.of(len(positions)), np.array(numbers)
            )
            self._commit(*maker.facts, replacements, version=maker.version)
            self._tidy(SPARE_BLOCKS_MEANWHILE)
        return len(positions)

    def _move(self, base: KnownEncoder, moved: KnownEncoder, transform: Transform) -> Iterator[int]:
        """Moves the entries of an encoder, so many in a block; yields how many are safe."""
        numbers = self.contents.numbers_of(base)
        for start in range(0, len(numbers), ROWS_AT_ONCE):
            some = numbers[start : start + ROWS_AT_ONCE]
            rows = self.contents.row_of[some]
            embeddings = vectors.unpack(self.contents.vectors_in_order(rows))
            packed = vectors.pack(moved_units(moved, transform(embeddings)))
            maker = self._maker(moved)
            moves = entry_blocks.encode_moves(packed, maker.of(len(some)), some)
            self._commit(*maker.facts, moves, version=layout.VERSION_WITH_SPACES)
            yield len(some)

    def _restore(self) -> int:
        """Makes the originals of moved entries live again; returns how many."""
        return self._let_go(layout.RESTORED)

    def _forget_originals(self) -> LetGo:
        """Lets go of the originals of moved entries."""
        count = self._let_go(layout.FORGOTTEN)
        erased = self._erase("forgotten vectors", count, "forget-originals")
        return LetGo(count, erased)

    def _let_go(self, kind: bytes) -> int:
        """Writes that moved entries have their originals again, or none; returns how many."""
        numbers = self.contents.originals()
        if len(numbers):
            block = entry_blocks.encode_numbers(kind, numbers)
            self._commit(block, version=layout.VERSION_WITH_SPACES)
        return len(numbers)

    def begin_moving(self) -> None:
        """Takes the lock of a file that is there, and sees what others wrote."""
        self.refresh()
        self._begin()

    def remove(self, ids: Collection[str] = (), labels: Collection[str] = ()) -> Removal:
        """Forgets the entries with these ids, and those with these labels."""
        self.refresh()
        self._begin()
        chosen = self._chosen(ids, labels)
        if chosen.numbers:
            numbers = np.array(sorted(chosen.numbers))
            removals = entry_blocks.encode_numbers(layout.REMOVALS, numbers)
            self._commit(removals, version=layout.VERSION_WITH_REMOVALS)
        erased = self._erase("removed entries", len(self.contents.removed), "remove")
        return Removal(
            entries=len(chosen.numbers),
            unknown_ids=chosen.unknown_ids,
            unknown_labels=chosen.unknown_labels,
            erased=erased,
        )

    def _chosen(self, ids: Collection[str], labels: Collection[str]) -> Chosen:
        """Looks for the entries with these ids, and those with these labels."""
        known = self._numbers()
        numbers = {known[ident] for ident in ids if ident in known}
        unknown_ids = [ident for ident in ids if ident not in known]
        known_labels = set()
        if labels:
            wanted = set(labels)
            label_of = zip(self.contents.numbers.tolist(), self.contents.labels(), strict=True)
            for number, label in label_of:
                if label in wanted:
                    numbers.add(number)
                    known_labels.add(label)
        unknown_labels = [label for label in labels if label not in known_labels]
        return Chosen(numbers, unknown_ids, unknown_labels)

    def _erase(self, what: str, count: int, action: str) -> str:
        """Leaves out of the file what is found no more; returns what is known of its bytes."""
        assert self.file
        has_other_names = os.fstat(self.file.descriptor).st_nlink > 1
        try:
            self._tidy(SPARE_BLOCKS)
        except OSError as error:
            self._release()
            raise InputError(
                f"{self.path}: {count:,} {what} are found by no search, but their bytes "
                f"are still in the file, since it could not be written anew ({error.strerror});",
                f"when that is mended run {action} again{AGAIN.get(action, '')}",
            ) from None
        erased = "their bytes are no longer in the file"
        if count and has_other_names:
            erased += ", but are where the file has other names (hard links)"
        return erased

    def declare(self, compatibility: Compatibility) -> None:
        """Declares it, and returns when that is safe; declaring it again changes nothing."""
        self.refresh()
        self._begin()
        if compatibility not in self.contents.compatible:
            fact = tidying.compatibility_block(compatibility)
            self._commit(fact.block, version=fact.version)

    def begin_writing(self, encoder: KnownEncoder) -> None:
        """Takes the lock to write entries of this encoder; makes a file where there is none."""
        self._begin(encoder.dims)

    def _begin(self, dims: int | None = None) -> None:
        """Takes the lock, and reads the whole file against its checksums.

        It makes the file only where dims are given.
        """
        if self.numbers is not None:
            return
        file, self.made = opening.open_to_write(self.path, dims)
        self._open(file)
        self._read_new()
        self.check()
        numbers = self.contents.numbers.tolist()
        self.numbers = dict(zip(self.contents.ids(), numbers, strict=True))
        if len(self.numbers) != len(numbers):
            raise blocks.damaged(self.path, self.read_to, "an id is there twice")

    def _numbers(self) -> dict[str, int]:
        """Returns the number of each id, which only a writer has."""
        assert self.numbers is not None, "only a writer knows them"
        return self.numbers

    def _maker(self, encoder: KnownEncoder) -> Maker:
        """Returns the encoder as the file knows it, or will know it with its next commit."""
        fact = tidying.encoder_block(encoder, self.contents.dims)
        for place, known in enumerate(self.contents.encoders):
            if known.fingerprint == encoder.fingerprint and known.dims == encoder.dims:
                return Maker(facts=[], place=place, version=fact.version)
        next_place = len(self.contents.encoders)
        return Maker(facts=[fact.block], place=next_place, version=fact.version)

    def _commit(self, *written: list[bytes], version: int = layout.VERSION) -> None:
        """Appends blocks; returns when they are on the disk."""
        assert self.file
        self.file.append(*written, version=version)
        self._read_new()
        self.unchecked.clear()  # this process wrote it

    def __exit__(self, kind: type[BaseException] | None, *_) -> None:
        if kind:  # what is safe stays so; nobody waits for a tidy file
            self._release()
        else:
            self.close()

    def close(self) -> None:
        """Tidies the file where this has written to it, and gives the lock back."""
        try:
            if self.numbers is not None:
                self._tidy(SPARE_BLOCKS)
        finally:
            self._release()

    def _release(self) -> None:
        """Closes the file and gives the lock back."""
        if self.made:  # by an add that came to nothing
            opening.place_of(self.path).unlink(missing_ok=True)
        self.numbers = None
        self.made = False
        self._forget()

    def _tidy(self, spare_blocks: int) -> None:
        """Leaves removed entries out, and once there are many, superseded rows and small blocks."""
        assert self.file
        if not tidying.is_needed(self.contents, ROWS_AT_ONCE, spare_blocks):
            return
        tidied = tidying.written_anew(self.file, self.contents, ROWS_AT_ONCE)
        if tidied.numbers is not None:
            self.numbers = tidied.numbers
        self._open(tidied.file)
        self._read_new()
        self.unchecked.clear()
