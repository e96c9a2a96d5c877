"""Holds what the blocks of a gallery file have of entries: their embeddings and their names."""

from dataclasses import dataclass

import numpy as np
from gallery_blocks import Block


@dataclass(frozen=True)
class Rows:
    """The embeddings of one block: row = scale * (256 * high + low)."""

    encoders: np.ndarray  # [rows]: which encoder made it
    scale: np.ndarray  # [rows] float32
    high: np.ndarray  # [rows, dims] int8
    low: np.ndarray  # [rows, dims] int8

    @property
    def dims(self) -> int:
        """Returns how many coordinates each embedding has."""
        return self.high.shape[1]


@dataclass(frozen=True)
class Name:
    """What an entry is called, and whom it shows."""

    id: str
    label: str


@dataclass(frozen=True)
class Names:
    """The ids and labels of one block's entries."""

    first: int  # number of the first entry
    ends: np.ndarray  # [2, rows]: where each id, and each label, ends
    text: memoryview  # all ids, then all labels
    block: Block

    def of(self, number: int) -> Name:
        """Returns what an entry is called."""
        row = number - self.first
        starts = [0, 0]
        if row:
            starts = self.ends[:, row - 1]
        id_start, label_start = starts
        id_end, label_end = self.ends[:, row]
        ids_end = self.ends[0, -1]
        ident = self.text[id_start:id_end]
        label = self.text[ids_end + label_start : ids_end + label_end]
        try:
            return Name(id=str(ident, "utf-8"), label=str(label, "utf-8"))
        except UnicodeDecodeError:
            raise self.block.damaged("an id or a label is no text") from None

    def have_label(self, label: str) -> np.ndarray:
        """Tells of each entry [rows] whether it has this label."""
        wanted = label.encode()
        labels = bytes(self.text[self.ends[0, -1] :])
        ends = self.ends[1]
        starts = np.concatenate([[0], ends[:-1]])
        found = ends - starts == len(wanted)
        for row in np.flatnonzero(found):
            found[row] = labels[starts[row] : ends[row]] == wanted
        return found
