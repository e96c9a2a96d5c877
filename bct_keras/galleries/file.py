"""A gallery in one memory-mapped file, which the device reads as it is; see blocks.py for its layout."""

from pathlib import Path

import numpy as np

from bct_keras.errors import InputError
from bct_keras.galleries import blocks, contents, vectors
from bct_keras.galleries.blocks import Block, BlockFile
from bct_keras.galleries.contents import Contents
from bct_keras.galleries.gallery import Compatibility, Description, Gallery, KnownEncoder, Match, first_positions

ROWS_AT_ONCE = 65_536
# Blocks more than the entries need, from which on a writer puts them together: when it ends, and while it goes on. Each
# costs a search some microseconds, and putting them together writes the whole file.
SPARE_BLOCKS = 64
SPARE_BLOCKS_MEANWHILE = 1024


class FileGallery(Gallery):
    """Many readers and one writer at a time, of any processes; each thread has its own.

    The first that writes takes the lock, and has it until it closes.
    """

    def __init__(self, path: str):
        self.path, self.name = Path(path), path
        self.file: BlockFile | None = None
        self.numbers: dict[str, int] | None = None  # of each id; only a writer has it, and with it the lock
        self._forget()

    def _forget(self) -> None:
        if self.file:
            self.file.close()
        self.file, self.contents, self.read_to, self.unchecked = None, Contents(0), blocks.FIRST_BLOCK, []

    def refresh(self) -> None:
        if self.file and self.file.replaced():
            self._forget()
        if not self.file:
            if not self.path.is_file():
                raise InputError(f"{self.path}: no such gallery; gallery add makes one")
            self._open(blocks.open_to_read(self.path))
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
        """Every byte against its checksum, those checked before excepted: what is committed never changes."""
        while self.unchecked:
            self.unchecked[-1].check()
            self.unchecked.pop()

    def encoders_in_use(self) -> dict[KnownEncoder, int]:
        return self.contents.in_use

    def compatibilities(self) -> list[Compatibility]:
        return self.contents.compatible

    def nearest(self, queries: np.ndarray, top: int, encoders: list[str]) -> list[list[Match]]:
        self.check()
        if not self.contents.rows:
            return [[] for _ in queries]
        return [[self._match(*each) for each in ranked] for ranked in self.contents.nearest(queries, top)]

    def _match(self, number: int, score: float) -> Match:
        made_by = self.contents.encoders[self.contents.encoder_of[number]]
        return Match(*self.contents.name_of(number), score, made_by.fingerprint)

    def add(self, encoder: KnownEncoder, ids: list[str], labels: list[str], embeddings: np.ndarray) -> int:
        units = self.checked(encoder, ids, labels, embeddings)
        numbers = self._begin_writing(encoder)
        new = [position for ident, position in first_positions(ids).items() if ident not in numbers]
        for start in range(0, len(new), ROWS_AT_ONCE):
            some = new[start : start + ROWS_AT_ONCE]
            added = [ids[position] for position in some]
            entries = contents.encode_entries(
                vectors.pack(units[some]), self._which(encoder, len(some)), added, [labels[each] for each in some]
            )
            self._commit(entries)
            numbers.update(zip(added, range(len(numbers), len(numbers) + len(added)), strict=True))
        return len(new)

    def replace(self, encoder: KnownEncoder, ids: list[str], labels: list[str], embeddings: np.ndarray) -> None:
        units = self.checked(encoder, ids, labels, embeddings)
        numbers = self._begin_writing(encoder)
        unknown = [ident for ident in ids if ident not in numbers]
        if unknown or len(set(ids)) < len(ids):
            raise InputError(f"{self.path}: {unknown[0] if unknown else 'an id given twice'} cannot be embedded anew")
        rows = np.array([numbers[ident] for ident in ids])
        self._commit(contents.encode_replacements(vectors.pack(units), self._which(encoder, len(ids)), rows))

    def declare(self, compatibility: Compatibility) -> None:
        self.refresh()
        self._begin_writing(None)
        if compatibility not in self.contents.compatible:
            self._commit(contents.encode_fact(contents.COMPATIBLE, compatibility))

    def _begin_writing(self, encoder: KnownEncoder | None) -> dict[str, int]:
        """The number of each id. Takes the lock, and reads the whole file against its checksums."""
        if self.numbers is None:
            self._open(blocks.open_to_write(self.path, encoder.dims if encoder else self.contents.dims))
            self._read_new()
            self.check()
            self.numbers = {ident: number for number, (ident, _) in enumerate(self.contents.all_names())}
            if len(self.numbers) != len(self.contents.row_of):
                raise blocks.damaged(self.path, self.read_to, "an id is there twice")
        if encoder and encoder.dims != self.contents.dims:
            raise InputError(f"{self.path} holds {self.contents.dims} dimensions and {encoder} gives {encoder.dims}")
        if encoder and encoder.fingerprint not in (known.fingerprint for known in self.contents.encoders):
            self._commit(contents.encode_fact(contents.ENCODER, encoder))
        return self.numbers

    def _which(self, encoder: KnownEncoder, rows: int) -> np.ndarray:
        fingerprints = [known.fingerprint for known in self.contents.encoders]
        return np.full(rows, fingerprints.index(encoder.fingerprint), np.uint16)

    def _commit(self, block: list[bytes]) -> None:
        assert self.file
        self.file.append(block)
        self._read_new()
        self.unchecked.clear()  # this process wrote it
        self._tidy(SPARE_BLOCKS_MEANWHILE)

    def entries_of_others(self, encoder: str) -> tuple[list[str], list[str]]:
        self.refresh()
        self.check()
        made = np.array([known.fingerprint == encoder for known in self.contents.encoders], bool)
        others = ~made[self.contents.encoder_of]
        kept = [names for names, other in zip(self.contents.all_names(), others, strict=True) if other]
        return [ident for ident, _ in kept], [label for _, label in kept]

    def describe(self) -> Description:
        self.refresh()
        self.check()
        superseded = int((~self.contents.live).sum())
        remarks = [f"{self.path.stat().st_size:,} bytes, every checksum holds"]
        if superseded:
            remarks.append(f"{superseded:,} superseded embeddings still in it")
        return Description(self.contents.dims, self.contents.in_use, self.contents.compatible, remarks)

    def close(self) -> None:
        if self.numbers is not None:
            self._tidy(SPARE_BLOCKS)
            self.numbers = None
        self._forget()

    def _tidy(self, spare_blocks: int) -> None:
        """Puts small blocks together and leaves superseded rows out, once there are many of either."""
        entries, rows = len(self.contents.row_of), len(self.contents.entry_of)
        if len(self.contents.rows) - rows // ROWS_AT_ONCE <= spare_blocks and rows - entries <= entries / 2:
            return
        tidied = blocks.create_beside(self.path, self.contents.dims)
        with blocks.closed_on_error(tidied.descriptor):
            tidied.append(*self._facts())
            for start in range(0, entries, ROWS_AT_ONCE):
                tidied.append(self._entries_from(start))
            blocks.put_in_place(tidied, self.path)
        self._open(tidied)
        self._read_new()
        self.unchecked.clear()

    def _facts(self) -> list[list[bytes]]:
        encoders = [contents.encode_fact(contents.ENCODER, known) for known in self.contents.encoders]
        return encoders + [contents.encode_fact(contents.COMPATIBLE, pair) for pair in self.contents.compatible]

    def _entries_from(self, start: int) -> list[bytes]:
        numbers = np.arange(start, min(start + ROWS_AT_ONCE, len(self.contents.row_of)))
        rows = self.contents.row_of[numbers]
        rising = np.argsort(rows)
        packed = self.contents.vectors_of(rows[rising])[np.argsort(rising)]
        names = [self.contents.name_of(number) for number in numbers.tolist()]
        ids, labels = [ident for ident, _ in names], [label for _, label in names]
        return contents.encode_entries(packed, self.contents.encoder_of[numbers], ids, labels)
