"""What one block of a gallery file does to the entries: which rows are theirs after it."""

from dataclasses import dataclass

import numpy as np

from bct_keras.gallery.blocks import Block, damaged
from bct_keras.gallery.layout import FORGOTTEN, MOVES, REMOVALS, RESTORED

REMOVED = -1  # in the place of an entry's live row
NONE = -1  # in the place of an entry's original row, where it has none


@dataclass(frozen=True)
class Change:
    """What a block does to entries."""

    kind: bytes
    numbers: np.ndarray  # [entries]
    block: Block
    first_row: int = 0  # of those that it adds, one for each entry


def apply(change: Change, row_of: np.ndarray, original_of: np.ndarray) -> int:
    """Does to entries what one block says; returns how many vectors it lets go.

    Blocks come in the order in which they were written. Those of removals are done at the end, by
    who reads them.

    Args:
        change: What the block says.
        row_of: [all numbers] the live row of each entry.
        original_of: [all numbers] the row of its original, or NONE.
    """
    numbers = change.numbers
    if change.kind == REMOVALS:
        return 0
    if change.kind in (RESTORED, FORGOTTEN):
        originals = original_of[numbers]
        if (originals == NONE).any():
            block = change.block
            raise damaged(block.path, block.offset, "an original vector is not there")
        if change.kind == RESTORED:
            row_of[numbers] = originals
        original_of[numbers] = NONE
        return len(numbers)
    if change.kind == MOVES:
        before = original_of[numbers]
        # An entry that is moved again keeps the vector that it had at first.
        original_of[numbers] = np.where(before == NONE, row_of[numbers], before)
    else:
        original_of[numbers] = NONE
    # The last assignment to an entry stands.
    row_of[numbers] = np.arange(change.first_row, change.first_row + len(numbers))
    return 0
