"""Puts the features of images together to one of each template, and scores pairs of them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

ROWS_AT_ONCE = 4096
SCORE_BLOCK = 3_000_000  # 12 MB for each thread


def image_weights(
    features: np.ndarray,
    templates: np.ndarray,
    medias: np.ndarray,
    scores: np.ndarray | None,
    normalise_first: bool,
) -> np.ndarray:
    """Returns what each image counts in the sum over its template [images] float32."""
    # sum over media of (mean over its images of score_i f_i)
    #   = sum over images of score_i / |media of i| f_i
    _, media, images = np.unique(
        np.stack([templates, medias], 1), axis=0, return_inverse=True, return_counts=True
    )
    weights = 1.0 / images[media.ravel()]
    if scores is not None:
        weights *= scores
    if normalise_first:
        weights /= np.maximum(lengths(features), 1e-12)
    return weights.astype(np.float32)


def lengths(features: np.ndarray) -> np.ndarray:
    """Returns the norm of each feature [images]."""
    found = np.empty(len(features), features.dtype)
    for start in range(0, len(features), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        block = features[rows]
        squared = np.einsum("ij,ij->i", block, block)
        found[rows] = np.sqrt(squared)
    return found


def pool(features: np.ndarray, rows: np.ndarray, templates: int, weights: np.ndarray) -> np.ndarray:
    """Returns the weighted sum of each template's images, at length 1 [templates, dims] float32.

    Args:
        features: [images, dims]
        rows: [images] the template of each.
        templates: How many there are.
        weights: [images]
    """
    order = np.argsort(rows, kind="stable")
    starts = np.searchsorted(rows[order], np.arange(templates + 1))
    pooled = np.empty((templates, features.shape[1]), np.float32)
    # Cut where a template begins, so that two threads never write the same row.
    cuts = np.unique(np.searchsorted(starts, np.arange(0, len(rows), ROWS_AT_ONCE)))
    cuts = np.append(cuts[cuts < templates], templates)

    def pool_between(first: int, last: int) -> None:
        begin, end = starts[first], starts[last]
        images = order[begin:end]
        weighted = features[images]
        weighted *= weights[images, None]
        begins = starts[first:last] - begin  # of each template
        sums = np.add.reduceat(weighted, begins, axis=0)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        pooled[first:last] = sums / np.maximum(norms, 1e-12)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(pool_between, cuts[:-1], cuts[1:]))
    return pooled


def pair_scores(
    first: np.ndarray, second: np.ndarray, first_rows: np.ndarray, second_rows: np.ndarray
) -> np.ndarray:
    """Returns the product of row i of `first` and row j of `second`, for each pair [pairs] float32.

    Args:
        first: [rows, dims]
        second: [rows, dims]
        first_rows: [pairs] i
        second_rows: [pairs] j

    A product of matrices is so much faster than gathering both sides of each pair that it pays to
    compute some scores nobody asked for.
    """
    rows, place_of_row = used_rows(first_rows, len(first))
    columns, place_of_column = used_rows(second_rows, len(second))
    right = np.ascontiguousarray(second[columns].T)
    step = max(1, SCORE_BLOCK // len(columns))
    starts = range(0, len(rows), step)
    block_of_row = (place_of_row // step).astype(np.min_scalar_type(len(starts)))
    block_of_pair = block_of_row[first_rows]
    offset_of_row = place_of_row % step * len(columns)
    scores = np.empty(len(first_rows), np.float32)

    def score_block(block: int) -> None:
        start = starts[block]
        left = first[rows[start : start + step]]
        products = left @ right
        pairs = np.flatnonzero(block_of_pair == block)
        place = offset_of_row[first_rows[pairs]]
        place += place_of_column[second_rows[pairs]]
        scores[pairs] = products.ravel()[place]

    # While one thread multiplies, the other one picks.
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(score_block, range(len(starts))))
    return scores


def used_rows(rows: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows that occur, and the place of each among them [total]."""
    used = np.zeros(total, bool)
    used[rows] = True
    occurring = np.flatnonzero(used)
    place = np.cumsum(used) - 1
    return occurring, np.maximum(place, 0)
