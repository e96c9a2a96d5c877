"""Embeddings class by class in bounded memory, though the records lie far apart in the shards."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    sources: Sequence[Iterable[Path]],
    what: str,
) -> Iterator[tuple[Block, Any]]:
    """Yields each block of classes with what the function returns for it.

    Args:
        function: Called for each block, in several threads.
        labels: [records] the class of each record.
        sources: Each the .npy files, one a shard, that together have a row for each label; they
            are gone through several times.
        what: Names the work in its progress bar.
    """
    order = in_order_of_classes(labels)
    starts = order.starts
    ends = order.ends
    with ThreadPoolExecutor(os.cpu_count()) as pool, progress.bar(what, len(labels)) as done:
        for first, last in stretches(starts, ends, sources):
            rows = order.rows[starts[first] : ends[last - 1]]
            embeddings = [read_rows(files, rows) for files in sources]
            found = blocks(labels, rows, starts[first:last], embeddings)
            for block, result in run(function, pool, found):
                done.update(block.records.size)
                yield block, result


def run(
    function: Callable, pool: ThreadPoolExecutor, found: Iterator[Block]
) -> Iterator[tuple[Block, Any]]:
    """Yields each block with what the function returns; a few are computed at a time.

    Numpy's products leave Python's lock, so threads use all cores.
    """
    at_once = (os.cpu_count() or 1) + 1
    waiting = []
    for block in found:
        waiting.append((block, pool.submit(function, block)))
        if len(waiting) > at_once:
            block, result = waiting.pop(0)
            yield block, result.result()
    for block, result in waiting:
        yield block, result.result()


def stretches(
    starts: np.ndarray, ends: np.ndarray, sources: Sequence[Iterable[Path]]
) -> Iterator[tuple[int, int]]:
    """Yields ranges of classes whose embeddings fit in memory; a class is never divided."""
    row_bytes = 0
    for files in sources:
        stored = open_array(next(iter(files)))
        row_bytes += stored[:1].nbytes
    rows = max(STRETCH_BYTES // row_bytes, 1)
    first = 0
    while first < len(starts):
        fitting = np.searchsorted(ends, starts[first] + rows, side="right")
        last = max(int(fitting), first + 1)
        yield first, last
        first = last


def read_rows(files: Iterable[Path], rows: np.ndarray) -> np.ndarray:
    """Returns [rows, dims] in the order asked for; every file is read once, from its beginning."""
    in_order = np.argsort(rows)
    wanted = rows[in_order]
    found = None
    first_row = 0
    for path in files:
        stored = open_array(path)
        beyond = first_row + len(stored)
        begin, end = np.searchsorted(wanted, [first_row, beyond])
        if found is None:
            shape = (len(rows), *stored.shape[1:])
            found = np.empty(shape, stored.dtype)
        found[in_order[begin:end]] = stored[wanted[begin:end] - first_row]
        first_row = beyond
    assert found is not None
    return found
