"""Embeddings class by class in bounded memory, though the records lie far apart in the shards."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import progress
from bct_keras.methods.class_blocks import Block, blocks, in_order_of_classes
from bct_keras.untrusted.arrays import open_array

STRETCH_BYTES = 256 * 2**20  # what is read at a time, of so many classes as that is


def map_classes(
    function: Callable[[Block], Any],
    labels: np.ndarray,
    sources: Sequence[Sequence[Path]],
    what: str,
) -> Iterator[tuple[Block, Any]]:
    """Yields each block of classes with what the function returns for it.

    A source is a list of .npy files, one a shard, that together have a row for each label.
    """
    order = in_order_of_classes(labels)
    starts, ends = order.starts, order.ends
    with ThreadPoolExecutor(os.cpu_count()) as pool, progress.bar(what, len(labels)) as done:
        for first, last in stretches(starts, ends, sources):
            rows = order.rows[starts[first] : ends[last - 1]]
            read = [read_rows(files, rows) for files in sources]
            for block, result in run(
                function, pool, blocks(labels, rows, starts[first:last], read)
            ):
                done.update(block.records.size)
                yield block, result


def run(
    function: Callable, pool: ThreadPoolExecutor, found: Iterator[Block]
) -> Iterator[tuple[Block, Any]]:
    """A few blocks at a time: numpy's products leave Python's lock, so threads use all cores."""
    waiting = []
    for block in found:
        waiting.append((block, pool.submit(function, block)))
        if len(waiting) > (os.cpu_count() or 1) + 1:
            block, result = waiting.pop(0)
            yield block, result.result()
    for block, result in waiting:
        yield block, result.result()


def stretches(
    starts: np.ndarray, ends: np.ndarray, sources: Sequence[Sequence[Path]]
) -> Iterator[tuple[int, int]]:
    """Ranges of classes whose embeddings fit; a class is never divided."""
    row_bytes = sum(open_array(files[0])[:1].nbytes for files in sources)
    rows = max(STRETCH_BYTES // row_bytes, 1)
    first = 0
    while first < len(starts):
        last = max(int(np.searchsorted(ends, starts[first] + rows, side="right")), first + 1)
        yield first, last
        first = last


def read_rows(files: Sequence[Path], rows: np.ndarray) -> np.ndarray:
    """Returns [rows, dims] in the order asked for; every file is read once, from its beginning."""
    in_order = np.argsort(rows)
    wanted = rows[in_order]
    found, first_row = None, 0
    for path in files:
        stored = open_array(path)
        begin, end = np.searchsorted(wanted, [first_row, first_row + len(stored)])
        if found is None:
            found = np.empty((len(rows), *stored.shape[1:]), stored.dtype)
        found[in_order[begin:end]] = stored[wanted[begin:end] - first_row]
        first_row += len(stored)
    assert found is not None
    return found
