"""A gallery in one memory-mapped file, which the device reads as it is.

A format of our own is kept on purpose: an index file of a library such as Faiss says nothing of the
encoder that made an entry, and is written as a whole, where a gallery is appended to while others
search it. The layout of the file stands in blocks.py.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from bct_keras.errors import InputError
from bct_keras.gallery import blocks, entry_blocks, opening, tidying, vectors
from bct_keras.gallery.file_reader import FileReader
from bct_keras.gallery.gallery import Compatibility, KnownEncoder, Removal, first_positions

ROWS_AT_ONCE = 65_536
# Blocks more than the entries need, from which on a writer puts them together: when it ends, and
# while it goes on. Each costs a search some microseconds, and putting them together writes the
# whole file.
SPARE_BLOCKS = 64
SPARE_BLOCKS_MEANWHILE = 1024


@dataclass(frozen=True)
class Maker:
    """The encoder of rows to be written, as the file knows it."""

    facts: list[list[bytes]]  # the block that names it, where the file does not know it yet
    place: int  # among the file's encoders

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
        self._commit(*maker.facts, entries)
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
            self._commit(*maker.facts, replacements)
            self._tidy(SPARE_BLOCKS_MEANWHILE)
        return len(positions)

    def remove(self, ids: Collection[str] = (), labels: Collection[str] = ()) -> Removal:
        """Forgets the entries with these ids, and those with these labels."""
        self.refresh()
        self._begin()
        chosen = self._chosen(ids, labels)
        if chosen.numbers:
            numbers = np.array(sorted(chosen.numbers))
            removals = entry_blocks.encode_removals(numbers)
            self._commit(removals, version=blocks.VERSION_WITH_REMOVALS)
        erased = self._erase()
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

    def _erase(self) -> str:
        """Leaves the removed entries out of the file; returns what is known of their bytes."""
        assert self.file
        removed = len(self.contents.removed)
        has_other_names = os.fstat(self.file.descriptor).st_nlink > 1
        try:
            self._tidy(SPARE_BLOCKS)
        except OSError as error:
            self._release()
            raise InputError(
                f"{self.path}: {removed:,} removed entries are found by no search, but their bytes "
                f"are still in the file, since it could not be written anew ({error.strerror});",
                "when that is mended run remove again, with the same ids and labels",
            ) from None
        erased = "their bytes are no longer in the file"
        if removed and has_other_names:
            erased += ", but are where the file has other names (hard links)"
        return erased

    def declare(self, compatibility: Compatibility) -> None:
        """Declares it, and returns when that is safe; declaring it again changes nothing."""
        self.refresh()
        self._begin()
        if compatibility not in self.contents.compatible:
            fact = entry_blocks.encode_fact(entry_blocks.COMPATIBLE, compatibility)
            self._commit(fact)

    def begin_writing(self, encoder: KnownEncoder) -> None:
        """Takes the lock to write entries of this encoder; makes a file where there is none."""
        self._begin(encoder.dims)
        if encoder.dims != self.contents.dims:
            raise InputError(
                f"{self.path} holds {self.contents.dims} dimensions and {encoder} gives "
                f"{encoder.dims}"
            )

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
        for place, known in enumerate(self.contents.encoders):
            if known.fingerprint == encoder.fingerprint:
                return Maker([], place)
        fact = entry_blocks.encode_fact(entry_blocks.ENCODER, encoder)
        return Maker([fact], len(self.contents.encoders))

    def _commit(self, *written: list[bytes], version: int = blocks.VERSION) -> None:
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
