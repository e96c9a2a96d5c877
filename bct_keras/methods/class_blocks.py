"""Puts classes together by their size, so that one call of numpy works on many of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BLOCK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Block:
    """Holds some classes with equally many records."""

    classes: np.ndarray  # [classes]
    records: np.ndarray  # [classes, n], their places in the order of the labels
    embeddings: tuple[np.ndarray, ...]  # of each source [classes, n, dims]


@dataclass(frozen=True)
class Order:
    """Holds all records in the order of their classes."""

    rows: np.ndarray  # [records], their places in the order of the labels
    starts: np.ndarray  # [classes that have a record], where each begins in `rows`
    ends: np.ndarray  # where each ends


def in_order_of_classes(labels: np.ndarray) -> Order:
    """Returns the order in which the records of each class stand together, else as they were."""
    rows = np.argsort(labels, kind="stable")
    sorted_labels = labels[rows]
    begins = np.diff(sorted_labels, prepend=-1)
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], len(labels))
    return Order(rows, starts, ends)


def blocks(
    labels: np.ndarray, rows: np.ndarray, starts: np.ndarray, read: list[np.ndarray]
) -> Iterator[Block]:
    """Yields classes of equal size together.

    Args:
        labels: [records] of all records.
        rows: The places of the records at hand, those of a class one after the other.
        starts: Where each class begins; the first one begins at the beginning of `rows`.
        read: Of each source the embeddings [rows, dims].
    """
    first = starts - starts[0]
    sizes = np.diff(first, append=len(rows))
    dims = max(values.shape[1] for values in read)
    for size in np.unique(sizes):
        chosen = first[sizes == size]
        together = max(BLOCK_BYTES // (4 * int(size) * max(dims, int(size))), 1)
        for begin in range(0, len(chosen), together):
            places = chosen[begin : begin + together, None] + np.arange(size)
            records = rows[places]
            embeddings = tuple(values[places] for values in read)
            yield Block(labels[records[:, 0]], records, embeddings)
