"""A gallery file as everybody reads it, whether or not a writer has it open meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bct_keras.errors import InputError
from bct_keras.gallery import layout, opening, scanning, vectors
from bct_keras.gallery.blocks import Block, BlockFile
from bct_keras.gallery.changes import REMOVED
from bct_keras.gallery.contents import Contents
from bct_keras.gallery.facts import Compatibility, Description, KnownEncoder, Match
from bct_keras.gallery.gallery import Gallery
from bct_keras.gallery.orders import Group
from bct_keras.gallery.scanning import Found
from bct_keras.gallery.spaces import Part


class FileReader(Gallery):
    """Reads a gallery file, which is mapped into memory, and follows what a writer adds to it."""

    def __init__(self, path: str):
        self.path = Path(path)
        self.name = path
        self.file: BlockFile | None = None
        self._forget()

    def _forget(self) -> None:
        """Closes the file and forgets what it holds."""
        if self.file:
            self.file.close()
        self.file = None
        self.contents = Contents(0)
        self.read_to = layout.FIRST_BLOCK
        self.unchecked: list[Block] = []

    def refresh(self) -> None:
        """Sees what others have written since, if only a file in the place of this one."""
        if self.file and self.file.replaced():
            self._forget()
        if not self.file:
            if not self.path.is_file():
                raise InputError(f"{self.path}: no such gallery; gallery add makes one")
            self._open(opening.open_to_read(self.path))
        self._read_new()

    def _open(self, file: BlockFile) -> None:
        """Takes a file that was opened in place of the one before."""
        self._forget()
        self.file = file
        self.contents = Contents(file.dims)

    def _read_new(self) -> None:
        """Takes in the blocks that were added since."""
        assert self.file
        end, _ = self.file.committed()
        added = list(self.file.blocks(self.read_to, end))
        if added:
            self.contents.extend(added)
            self.unchecked += added
        self.read_to = end

    def check(self) -> None:
        """Holds every byte against its checksum, those checked before excepted.

        What is committed never changes.
        """
        while self.unchecked:
            self.unchecked[-1].check()
            self.unchecked.pop()

    def encoders_in_use(self) -> dict[KnownEncoder, int]:
        """Returns the encoders of the entries that are there, with their numbers of entries."""
        return self.contents.in_use

    def compatibilities(self) -> list[Compatibility]:
        """Returns what was declared of encoders."""
        return self.contents.compatible

    def encoders_behind(self, encoder: KnownEncoder) -> dict[KnownEncoder, int]:
        """Returns the encoders of the originals of moved entries, where all of them are kept."""
        return self.contents.behind(encoder)

    def nearest(self, parts: list[Part], top: int) -> list[list[Match]]:
        """Searches the parts of the gallery; returns one list for each query."""
        self.check()
        matches = []
        for ranked in scanning.nearest(self.contents, parts, top):
            matches.append([self._match(found) for found in ranked])
        return matches

    def _match(self, found: Found) -> Match:
        """Returns what a search tells of an entry."""
        made_by = scanning.searched_encoder(self.contents, found)
        name = self.contents.name_of(found.number)
        return Match(
            id=name.id,
            label=name.label,
            score=found.score,
            encoder=made_by.fingerprint,
            rate=found.rate,
        )

    def entries_of_others(self, encoder: str) -> tuple[list[str], list[str]]:
        """Returns the ids and labels of every entry that this encoder has not made."""
        self.refresh()
        self.check()
        fingerprints = [known.fingerprint for known in self.contents.encoders]
        makers = self.contents.encoder_of[self.contents.numbers].tolist()
        ids, labels = [], []
        entries = zip(makers, self.contents.ids(), self.contents.labels(), strict=True)
        for maker, ident, label in entries:
            if fingerprints[maker] != encoder:
                ids.append(ident)
                labels.append(label)
        return ids, labels

    def embedded(self, ids: list[str]) -> Iterator[Group]:
        """Yields what entries are embedded as, for each encoder that has made some of them."""
        held = self.contents
        numbers_of = dict(zip(held.ids(), held.numbers.tolist(), strict=True))
        numbers = np.array([numbers_of[ident] for ident in ids], np.int64)
        makers = held.encoder_of[numbers]
        for maker in np.unique(makers).tolist():
            positions = np.flatnonzero(makers == maker)
            packed = held.vectors_in_order(held.row_of[numbers[positions]])
            yield Group(positions, vectors.unpack(packed))

    def describe(self) -> Description:
        """Reads and checks everything."""
        self.refresh()
        self.check()
        remarks = [f"{self.path.stat().st_size:,} bytes, every checksum holds"]
        held = self.contents
        removed = len(held.removed)
        originals = len(held.originals())
        of_entries = held.row_of[held.entry_of] != REMOVED
        superseded = int((of_entries & ~held.live).sum()) - originals
        if originals:
            remarks.append(f"the original vectors of {originals:,} moved entries still in it")
        if superseded:
            remarks.append(f"{superseded:,} superseded embeddings still in it")
        if removed:
            remarks.append(
                f"{removed:,} removed entries still in it until the next command that writes to it "
                "ends"
            )
        return Description(held.in_use, held.compatible, remarks)
