"""Measures an upgrade without any label.

It goes by how many of the new encoder's own nearest neighbours are still found: those that its
queries have in a gallery of its own are taken for the truth. https://pypi.org/project/rebasis
reports the same.
"""

import numpy as np

NEAREST = 10
SCORES_AT_ONCE = 8_000_000  # 32 MB


def nearest(queries: np.ndarray, gallery: np.ndarray, k: int = NEAREST) -> np.ndarray:
    """Returns the rows of the k nearest items of each query, in any order [queries, k].

    All of them where the gallery has fewer.

    Args:
        queries: [queries, dims] of length 1.
        gallery: [items, dims] of length 1.
        k: How many.
    """
    count = min(k, len(gallery))
    found = np.empty((len(queries), count), np.int64)
    step = max(1, SCORES_AT_ONCE // len(gallery))
    for start in range(0, len(queries), step):
        scores = queries[start : start + step] @ gallery.T
        rows = np.argpartition(scores, len(gallery) - count, axis=1)[:, -count:]
        found[start : start + step] = rows
    return found


def neighbours_kept(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Returns how much of each query's true neighbours is among those that it finds [queries].

    Args:
        truth: [queries, k] rows of a gallery, as `nearest` gives them.
        found: [queries, k] rows of the same items in another gallery.

    Example:
        >>> neighbours_kept(np.array([[0, 1], [2, 3]]), np.array([[1, 4], [3, 2]]))
        array([0.5, 1. ])
    """
    kept = np.empty(len(truth))
    for query, (true_rows, rows) in enumerate(zip(truth, found, strict=True)):
        kept[query] = np.isin(true_rows, rows).mean()
    return kept
