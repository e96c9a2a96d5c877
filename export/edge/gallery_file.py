"""Reads a gallery file as `python -m bct_keras.gallery` writes it, without bct_keras.

The format stands in bct_keras/gallery/FORMAT.md. What bct_keras refuses as damaged is refused here.
"""

import numpy as np
from gallery_blocks import Block, BlockFile
from gallery_entries import Name, Names, Rows
from gallery_facts import Compatibility, KnownEncoder, compatibility_of, encoder_of

LARGEST_SCALE = 2.0**-14
NONE = -1  # in the place of a row, where an entry has none


class GalleryFile:
    """What a gallery file holds, mapped into memory."""

    def __init__(self, path: str):
        self.path = path
        self.file = BlockFile(path)
        self.blocks: list[Block] = []
        self.encoders: list[KnownEncoder] = []
        self.compatible: list[Compatibility] = []
        self.names: list[Names] = []
        self.parts: list[Rows] = []
        self.row_of = np.zeros(0, np.int64)  # [numbers]: the live row of each entry, or NONE
        self.original_of = np.zeros(0, np.int64)  # [numbers]: its row before it was moved, or NONE
        self.entry_of = np.zeros(0, np.int64)  # [rows]: the number of the entry that each embeds
        for block in self.file.blocks():
            self.blocks.append(block)
            self.read(block)
        self.find_live_rows()

    def read(self, block: Block) -> None:
        """Takes in one block."""
        if block.kind == b"ENCO":
            encoder = encoder_of(block)
            if encoder in self.encoders:
                raise block.damaged("the encoder is there twice")
            self.encoders.append(encoder)
        elif block.kind == b"COMP":
            self.compatible.append(compatibility_of(block))
        elif block.kind == b"ENTR":
            self.read_entries(block)
        elif block.kind in (b"REPL", b"MOVE"):
            self.read_other_rows(block)
        elif block.kind in (b"REST", b"FORG"):
            self.let_go(block)
        elif block.kind == b"REMO":
            numbers = self.numbers_there(block)
            self.row_of[numbers] = NONE
            self.original_of[numbers] = NONE
        else:
            raise block.damaged(f"a block of unknown kind {block.kind!r}")

    def read_entries(self, block: Block) -> None:
        """Takes in new entries, which get the next numbers and are live."""
        count = block.rows
        ends = block.array("<u4", start=0, count=2 * count)
        ends = ends.astype(np.int64).reshape(2, count)
        lengths = np.diff(ends)
        if not count or (lengths < 0).any():
            raise block.damaged("ids or labels that end before they begin")
        rows = self.read_vectors(block)
        dims = self.parts[-1].dims
        text = block.bytes(start=(14 + 2 * dims) * count, count=int(ends[:, -1].sum()))
        first = len(self.row_of)
        self.names.append(Names(first, ends, text, block))
        numbers = np.arange(first, first + count)
        none = np.full(count, NONE)
        self.row_of = np.concatenate([self.row_of, rows])
        self.original_of = np.concatenate([self.original_of, none])
        self.entry_of = np.concatenate([self.entry_of, numbers])

    def read_other_rows(self, block: Block) -> None:
        """Takes in entries that were embedded anew, or moved; the row before a move is kept."""
        numbers = self.numbers_there(block)
        rows = self.read_vectors(block)
        kept = np.full(len(numbers), NONE)
        if block.kind == b"MOVE":
            before = self.original_of[numbers]
            kept = np.where(before == NONE, self.row_of[numbers], before)
        self.original_of[numbers] = kept
        self.row_of[numbers] = rows
        self.entry_of = np.concatenate([self.entry_of, numbers])

    def let_go(self, block: Block) -> None:
        """Makes the rows before a move live again, or forgets them."""
        numbers = self.numbers_there(block)
        originals = self.original_of[numbers]
        if (originals == NONE).any():
            raise block.damaged("an original vector is not there")
        if block.kind == b"REST":
            self.row_of[numbers] = originals
        self.original_of[numbers] = NONE

    def numbers_there(self, block: Block) -> np.ndarray:
        """Reads the numbers of entries that a block is about; they have to be there."""
        numbers = block.array("<u8", start=0, count=block.rows)
        if len(numbers) and numbers.max() >= len(self.row_of):
            raise block.damaged("an entry that is not there")
        numbers = numbers.astype(np.int64)
        if (self.row_of[numbers] == NONE).any():
            raise block.damaged("an entry that was removed")
        return numbers

    def read_vectors(self, block: Block) -> np.ndarray:
        """Takes in a block's embeddings; returns their rows, counted through the whole file.

        They begin behind the first 8 bytes of each row.
        """
        count = block.rows
        scale = block.array("<f4", start=8 * count, count=count)
        encoders = block.array("<u2", start=12 * count, count=count)
        dims = self.dims_of(block, encoders)
        planes = block.array("i1", start=14 * count, count=2 * count * dims)
        high, low = planes.reshape(2, count, dims)
        is_good = (scale > 0) & (scale < LARGEST_SCALE)
        if not is_good.all():
            raise block.damaged("a scale that no embedding has")
        self.parts.append(Rows(encoders, scale, high, low))
        first = len(self.entry_of)
        return np.arange(first, first + count)

    def dims_of(self, block: Block, encoders: np.ndarray) -> int:
        """Returns the dimensions of a block's rows, which are the same for all their encoders."""
        if not len(encoders):
            return self.file.first_dims
        if encoders.max() >= len(self.encoders):
            raise block.damaged("an encoder that is not there")
        found = set()
        for place in np.unique(encoders):
            found.add(self.encoders[place].dims)
        if len(found) > 1:
            raise block.damaged("rows of several dimensions")
        return found.pop()

    def find_live_rows(self) -> None:
        """Finds which rows are searched, and who made them."""
        live = self.row_of[self.row_of != NONE]
        if not len(live):
            raise ValueError(f"{self.path} has no entries")
        self.entries = len(live)
        self.is_live = np.zeros(len(self.entry_of), bool)
        self.is_live[live] = True
        self.scale = np.concatenate([part.scale for part in self.parts])
        made_by = np.concatenate([part.encoders for part in self.parts])
        self.makers = set()
        dims = set()
        for place in np.unique(made_by[live]):
            encoder = self.encoders[place]
            self.makers.add(encoder.fingerprint)
            dims.add(encoder.dims)
        if len(dims) > 1:
            several = f"entries of {sorted(dims)} dimensions, which are not searched together here"
            raise ValueError(f"{self.path} has {several}: move or embed all of them")
        (self.dims,) = dims

    def check(self) -> None:
        """Holds every byte against its checksum; once after the file was copied here is enough."""
        for block in self.blocks:
            block.check()

    def name(self, number: int) -> Name:
        """Returns what an entry is called, and whom it shows."""
        for names in reversed(self.names):
            if names.first <= number:
                return names.of(number)
        raise LookupError(f"{self.path} has no entry {number}")
