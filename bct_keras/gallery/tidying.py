"""A gallery file written anew: without what nobody finds any more, and in few blocks."""

import itertools
from dataclasses import dataclass

import numpy as np

from bct_keras.gallery import entry_blocks, opening
from bct_keras.gallery.blocks import BlockFile
from bct_keras.gallery.contents import Contents


@dataclass(frozen=True)
class Tidied:
    """The file in the place of the former one."""

    file: BlockFile
    numbers: dict[str, int] | None  # of each id, where they have changed


def is_needed(contents: Contents, rows_at_once: int, spare_blocks: int) -> bool:
    """Tells whether a file is worth writing anew.

    It is where there are removed entries, many superseded rows, or too many blocks.

    Args:
        contents: What the file holds.
        rows_at_once: How many rows a block holds when the file is written anew.
        spare_blocks: How many blocks more than these the file may have.
    """
    if len(contents.removed):
        return True
    entries, rows = len(contents.numbers), len(contents.entry_of)
    many_blocks = len(contents.rows) - rows // rows_at_once > spare_blocks
    many_superseded = rows - entries > entries / 2
    return many_blocks or many_superseded


def written_anew(file: BlockFile, contents: Contents, rows_at_once: int) -> Tidied:
    """Writes the file's entries anew, so many in a block, and puts that in the file's place."""
    numbers_of: dict[str, int] = {}
    with opening.replacement(file) as tidied:
        tidied.append(*facts(contents))
        all_ids, all_labels = contents.ids(), contents.labels()
        for start in range(0, len(contents.numbers), rows_at_once):
            numbers = contents.numbers[start : start + rows_at_once]
            ids = list(itertools.islice(all_ids, len(numbers)))
            labels = list(itertools.islice(all_labels, len(numbers)))
            tidied.append(entries(contents, numbers, ids, labels))
            if len(contents.removed):  # whose numbers the others move up to
                numbers_of.update(zip(ids, range(start, start + len(ids)), strict=True))
    return Tidied(tidied, numbers_of if len(contents.removed) else None)


def facts(contents: Contents) -> list[list[bytes]]:
    """Returns the blocks of encoders and of what was declared of them."""
    found = []
    for encoder in contents.encoders:
        found.append(entry_blocks.encode_fact(entry_blocks.ENCODER, encoder))
    for compatibility in contents.compatible:
        found.append(entry_blocks.encode_fact(entry_blocks.COMPATIBLE, compatibility))
    return found


def entries(
    contents: Contents, numbers: np.ndarray, ids: list[str], labels: list[str]
) -> list[bytes]:
    """Returns a block of the entries with these numbers [entries]."""
    rows = contents.row_of[numbers]
    rising = np.argsort(rows)
    packed = contents.vectors_of(rows[rising])[np.argsort(rising)]
    return entry_blocks.encode_entries(packed, contents.encoder_of[numbers], ids, labels)
