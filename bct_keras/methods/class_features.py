"""Computes what methods need of the old embeddings of each class.

Arrays are [classes, n, dims]: n records of each class.
"""

from collections.abc import Iterable

import numpy as np

from bct_keras.vectors import normalised

CREDIBLE_SHARE = 0.9
# What is normalised before distances are measured, and the field of a batch that tells which rows
# are credible by it
CREDIBLE = {"rows": "credible", "rows_then_columns": "credible_rows_then_columns"}
OF_DIMS = ("means", "prototypes", "centres")  # [classes, dims]
OF_CLASS = ("radii", "kept", "least_cosines")  # [classes]


def of_block(old: np.ndarray) -> dict[str, np.ndarray]:
    """Returns all features of some classes, by the names in OF_DIMS and OF_CLASS."""
    centres, radii, kept = centres_and_radii(old)
    return {
        "means": means(old),
        "prototypes": prototypes(old),
        "centres": centres,
        "radii": radii,
        "kept": kept,
        "least_cosines": least_cosines(old),
    }


def credible(
    embeddings: np.ndarray, kept_share: float, column_norms: np.ndarray | None = None
) -> np.ndarray:
    """Returns [classes, n] bool: in each class the ceil(kept_share * n) nearest to the mean.

    It is that of the normalised embeddings. The released code of MixBCT divides their coordinates
    by the norms of the columns too ("rows_then_columns").
    """
    directions = normalised(embeddings)
    if column_norms is not None:
        directions = directions / column_norms
    # Two images lie equally far from their mean but for its rounding: as in the released code that
    # decides, and so the difference is taken exactly.
    distances = np.linalg.norm(
        directions - directions.mean(1, keepdims=True).astype(np.float64), axis=2
    )
    # The small term keeps 0.07 * 100, which is 7.000...01, from becoming 8.
    count = int(np.ceil(kept_share * distances.shape[1] - 1e-9))
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :count]
    kept = np.zeros(distances.shape, bool)
    np.put_along_axis(kept, nearest, True, axis=1)
    return kept


def column_norms(pieces: Iterable[np.ndarray]) -> np.ndarray:
    """Returns the norm [dims] of each column of the normalised embeddings, given in pieces."""
    squares = np.float64(0)
    for piece in pieces:
        directions = normalised(piece)
        squares = squares + np.square(directions).sum(0, dtype=np.float64)
    norms = np.sqrt(squares)
    return np.maximum(norms, 1e-12).astype(np.float32)


def means(old: np.ndarray) -> np.ndarray:
    """Returns [classes, dims], the means at their own length: the released UniBCT's prototypes."""
    return old.mean(1)


def prototypes(old: np.ndarray) -> np.ndarray:
    """Returns [classes, dims], the means at length 1: BCT's prototypes."""
    return normalised(means(old))


def centres_and_radii(old: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns AdvBCT's centres, radii, and how many images of each class were kept.

    The centres are means of the normalised embeddings, the radii the largest distances from them.
    In classes of 4 or more, distances beyond the quartiles by more than 1.5 of what lies between
    these are left out.
    """
    directions = normalised(old)
    centres = directions.mean(1)
    distances = np.linalg.norm(directions - centres[:, None], axis=2)
    distances.sort(axis=1)
    kept = np.ones(distances.shape, bool)
    count = distances.shape[1]
    if count >= 4:
        low = distances[:, count // 4, None]
        high = distances[:, 3 * count // 4, None]
        reach = 1.5 * (high - low)
        kept = (distances >= low - reach) & (distances <= high + reach)
    radii = np.where(kept, distances, 0.0).max(1)
    return centres, radii, kept.sum(1)


def least_cosines(old: np.ndarray) -> np.ndarray:
    """Returns [classes], LCE's reach: the least cosine of an embedding to the class centre.

    The centre is the mean of the normalised embeddings, at length 1.
    """
    directions = normalised(old)
    centres = normalised(directions.mean(1))
    cosines = np.matmul(directions, centres[:, :, None])[:, :, 0]
    return cosines.min(1)


def refined_prototypes(
    old: np.ndarray, new: np.ndarray, temperature: float, smoothing: float
) -> np.ndarray:
    """Returns [classes, dims], the means of the old embeddings spread over a graph of the new ones.

    E_ij = softmax over j of <v_i, v_j> / temperature, E_ii = 0, v the new embeddings as given
    A = (1 - smoothing) (I - smoothing E)^-1;  prototype = mean over i of (A old)_i

    Only that mean is needed, so one solution of (I - smoothing E)^T a = (1 - smoothing) 1/n takes
    the place of the inverse, and the prototype is a^T old. The released UniBCT takes the softmax
    over i: every column of E then adds to 1, so 1^T E = 1^T, a = 1/n, and whatever the graph, what
    comes out is `means`.
    """
    count = old.shape[1]
    if count == 1:
        return old[:, 0]
    logits = np.matmul(new, new.transpose(0, 2, 1)) / temperature
    logits[:, np.arange(count), np.arange(count)] = -np.inf
    logits -= logits.max(2, keepdims=True)
    edges = np.exp(logits, out=logits)
    edges /= edges.sum(2, keepdims=True)
    system = np.eye(count, dtype=edges.dtype) - smoothing * edges.transpose(0, 2, 1)
    right = np.full((len(old), count, 1), (1.0 - smoothing) / count, edges.dtype)
    shares = np.linalg.solve(system, right)
    return np.matmul(shares.transpose(0, 2, 1), old)[:, 0]
