"""A gallery in one memory-mapped file, which the device reads as it is; see blocks.py for its
layout.

A format of our own is kept on purpose: an index file of a library such as Faiss says nothing of the
encoder that made an entry, and is written as a whole, where a gallery is appended to while others
search it.
"""

import itertools
import os
from collections.abc import Collection
from pathlib import Path

import numpy as np

from bct_keras.errors import InputError
from bct_keras.gallery import blocks, contents, entry_blocks, opening, tidying, vectors
from bct_keras.gallery.blocks import Block, BlockFile
from bct_keras.gallery.contents import Contents, Found
from bct_keras.gallery.gallery import (
    Compatibility,
    Description,
    Gallery,
    KnownEncoder,
    Match,
    Removal,
    first_positions,
)

ROWS_AT_ONCE = 65_536
# Blocks more than the entries need, from which on a writer puts them together: when it ends, and
# while it goes on. Each costs a search some microseconds, and putting them together writes the
# whole file.
SPARE_BLOCKS = 64
SPARE_BLOCKS_MEANWHILE = 1024


class FileGallery(Gallery):
    """Many readers and one writer at a time, of any processes; each thread has its own.

    The first that writes takes the lock, and has it until it closes. A writer that ends leaves no
    bytes of removed entries behind: it writes the file anew without them, which any later one does
    for it where it was stopped before.
    """

    def __init__(self, path: str):
        self.path, self.name = Path(path), path
        self.file: BlockFile | None = None
        # Of each id; only a writer has it, and with it the lock.
        self.numbers: dict[str, int] | None = None
        self.made = False  # whether this writer made the file and has added nothing to it yet
        self._forget()

    def _forget(self) -> None:
        """Closes the file and forgets what it holds."""
        if self.file:
            self.file.close()
        self.file = None
        self.contents = Contents(0)
        self.read_to = blocks.FIRST_BLOCK
        self.unchecked: list[Block] = []

    def refresh(self) -> None:
        if self.file and self.file.replaced():
            self._forget()
        if not self.file:
            if not self.path.is_file():
                raise InputError(f"{self.path}: no such gallery; gallery add makes one")
            self._open(opening.open_to_read(self.path))
        self._read_new()

    def _open(self, file: BlockFile) -> None:
        self._forget()
        self.file, self.contents = file, Contents(file.dims)

    def _read_new(self) -> list[Block]:
        assert self.file
        end, _ = self.file.committed()
        added = list(self.file.blocks(self.read_to, end))
        if added:
            self.contents.extend(added)
            self.unchecked += added
        self.read_to = end
        return added

    def check(self) -> None:
        """Holds every byte against its checksum, those checked before excepted.

        What is committed never changes.
        """
        while self.unchecked:
            self.unchecked[-1].check()
            self.unchecked.pop()

    def encoders_in_use(self) -> dict[KnownEncoder, int]:
        return self.contents.in_use

    def compatibilities(self) -> list[Compatibility]:
        return self.contents.compatible

    def nearest(self, queries: np.ndarray, top: int, encoders: list[str]) -> list[list[Match]]:
        self.check()
        matches = []
        for ranked in self.contents.nearest(queries, top):
            matches.append([self._match(found) for found in ranked])
        return matches

    def _match(self, found: Found) -> Match:
        made_by = self.contents.encoders[self.contents.encoder_of[found.number]]
        name = self.contents.name_of(found.number)
        return Match(name.id, name.label, found.score, made_by.fingerprint)

    def _add(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], units: np.ndarray
    ) -> int:
        new = [
            position
            for ident, position in first_positions(ids).items()
            if ident not in self._numbers()
        ]
        for start in range(0, len(new), ROWS_AT_ONCE):
            some = new[start : start + ROWS_AT_ONCE]
            added = [ids[position] for position in some]
            fact, which = self._made_by(encoder, len(some))
            entries = entry_blocks.encode_entries(
                vectors.pack(units[some]), which, added, [labels[each] for each in some]
            )
            first = len(self.contents.row_of)
            self._commit(*fact, entries)
            self.made = False
            self._numbers().update(zip(added, range(first, first + len(added)), strict=True))
            self._tidy(SPARE_BLOCKS_MEANWHILE)
        return len(new)

    def _replace(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], units: np.ndarray
    ) -> int:
        numbers = self._numbers()
        there = [position for position, ident in enumerate(ids) if ident in numbers]
        if there:
            fact, which = self._made_by(encoder, len(there))
            rows = np.array([numbers[ids[position]] for position in there])
            self._commit(
                *fact, entry_blocks.encode_replacements(vectors.pack(units[there]), which, rows)
            )
            self._tidy(SPARE_BLOCKS_MEANWHILE)
        return len(there)

    def remove(self, ids: Collection[str] = (), labels: Collection[str] = ()) -> Removal:
        self.refresh()
        self._begin()
        numbers = self._numbers()
        chosen = {numbers[ident] for ident in ids if ident in numbers}
        unknown_ids = [ident for ident in ids if ident not in numbers]
        known_labels = set()
        if labels:
            wanted = set(labels)
            label_of = zip(self.contents.numbers.tolist(), self.contents.labels(), strict=True)
            for number, label in label_of:
                if label in wanted:
                    chosen.add(number)
                    known_labels.add(label)
        unknown_labels = [label for label in labels if label not in known_labels]
        if chosen:
            removals = entry_blocks.encode_removals(np.array(sorted(chosen)))
            self._commit(removals, version=blocks.VERSION_WITH_REMOVALS)
        erased = self._erase()
        return Removal(len(chosen), unknown_ids, unknown_labels, erased)

    def _erase(self) -> str:
        """Writes the file anew without the removed entries; returns what then is known of their
        bytes.
        """
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
        self.refresh()
        self._begin()
        if compatibility not in self.contents.compatible:
            self._commit(entry_blocks.encode_fact(entry_blocks.COMPATIBLE, compatibility))

    def begin_writing(self, encoder: KnownEncoder) -> None:
        self._begin(encoder.dims)
        if encoder.dims != self.contents.dims:
            raise InputError(
                f"{self.path} holds {self.contents.dims} dimensions and {encoder} gives "
                f"{encoder.dims}"
            )

    def _begin(self, dims: int | None = None) -> None:
        """Takes the lock, and reads the whole file against its checksums. Makes the file only
        where dims are given.
        """
        if self.numbers is None:
            file, self.made = opening.open_to_write(self.path, dims)
            self._open(file)
            self._read_new()
            self.check()
            self.numbers = dict(
                zip(self.contents.ids(), self.contents.numbers.tolist(), strict=True)
            )
            if len(self.numbers) != len(self.contents.numbers):
                raise blocks.damaged(self.path, self.read_to, "an id is there twice")

    def _numbers(self) -> dict[str, int]:
        assert self.numbers is not None, "only a writer knows them"
        return self.numbers

    def _made_by(self, encoder: KnownEncoder, rows: int) -> tuple[list[list[bytes]], np.ndarray]:
        """Returns the block that names the encoder, where the gallery does not know it yet.

        And its place among the encoders, once for each of the rows.
        """
        fingerprints = [known.fingerprint for known in self.contents.encoders]
        if encoder.fingerprint in fingerprints:
            return [], np.full(rows, fingerprints.index(encoder.fingerprint), np.uint16)
        return [entry_blocks.encode_fact(entry_blocks.ENCODER, encoder)], np.full(
            rows, len(fingerprints), np.uint16
        )

    def _commit(self, *written: list[bytes], version: int = blocks.VERSION) -> None:
        assert self.file
        self.file.append(*written, version=version)
        self._read_new()
        self.unchecked.clear()  # this process wrote it

    def entries_of_others(self, encoder: str) -> tuple[list[str], list[str]]:
        self.refresh()
        self.check()
        made = np.array([known.fingerprint == encoder for known in self.contents.encoders], bool)
        others = ~made[self.contents.encoder_of[self.contents.numbers]]
        ids, labels = (
            itertools.compress(column, others)
            for column in (self.contents.ids(), self.contents.labels())
        )
        return list(ids), list(labels)

    def describe(self) -> Description:
        self.refresh()
        self.check()
        remarks = [f"{self.path.stat().st_size:,} bytes, every checksum holds"]
        removed = len(self.contents.removed)
        of_entries = self.contents.row_of[self.contents.entry_of] != contents.REMOVED
        superseded = int((of_entries & ~self.contents.live).sum())
        if superseded:
            remarks.append(f"{superseded:,} superseded embeddings still in it")
        if removed:
            remarks.append(
                f"{removed:,} removed entries still in it until the next command that writes to it "
                "ends"
            )
        return Description(
            self.contents.dims, self.contents.in_use, self.contents.compatible, remarks
        )

    def __exit__(self, kind: type[BaseException] | None, *_) -> None:
        if kind:  # what is safe stays so; nobody waits for a tidy file
            self._release()
        else:
            self.close()

    def close(self) -> None:
        try:
            if self.numbers is not None:
                self._tidy(SPARE_BLOCKS)
        finally:
            self._release()

    def _release(self) -> None:
        if self.made:
            opening.place_of(self.path).unlink(missing_ok=True)  # an add that came to nothing
        self.numbers, self.made = None, False
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
