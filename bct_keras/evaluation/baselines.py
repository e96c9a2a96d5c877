"""What needs no training: mapping new queries into the old space, and merging the ranks of two searches."""

import numpy as np

from bct_keras.data.embeddings import normalised
from bct_keras.evaluation.verification import Embedded

QUERIES_AT_ONCE = 512


def procrustes_map(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """[new dims, old dims] the rotation R that minimises |new R - old|, of the same images by both encoders.

    https://en.wikipedia.org/wiki/Orthogonal_Procrustes_problem
    """
    # new' old = U S V'  ->  R = U V'
    left, _, right = np.linalg.svd(new.T.astype(np.float64) @ old, full_matrices=False)
    return left @ right


def mapped(query: Embedded, rotation: np.ndarray) -> Embedded:
    return Embedded(normalised(query.embeddings @ rotation).astype(np.float32), query.labels)


def merged_top(
    queries: tuple[Embedded, Embedded], galleries: tuple[Embedded, Embedded], refreshed: np.ndarray, rank: int = 1
) -> float:
    """Share of queries found at the rank, where old queries search what is still old and new ones what is re-embedded.

    Scores of two encoders cannot be compared; ranks can, each as a share of the part that was searched. `queries`
    and `galleries` are (old, new); `refreshed` [gallery] tells the two parts.
    https://arxiv.org/abs/2301.03767
    """
    found = 0
    labels = galleries[0].labels
    for start in range(0, len(queries[0].labels), QUERIES_AT_ONCE):
        block = slice(start, start + QUERIES_AT_ONCE)
        place = np.empty((len(queries[0].labels[block]), len(labels)), np.float32)
        # Of two at the same place the new encoder's goes first.
        for query, gallery, part, first in zip(queries, galleries, (~refreshed, refreshed), (0.5, 0.49), strict=True):
            if part.any():
                place[:, part] = rank_shares(query.embeddings[block] @ gallery.embeddings[part].T, first)
        same = queries[0].labels[block, None] == labels
        own = np.where(same, place, np.inf).min(1)
        # A tie counts against us, as everywhere.
        found += int(np.sum(np.sum((place <= own[:, None]) & ~same, axis=1) < rank))
    return found / len(queries[0].labels)


def rank_shares(scores: np.ndarray, first: float) -> np.ndarray:
    """Each row's ranks, counted from `first`, divided by how many there are."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranks = np.empty(order.shape, np.float32)
    np.put_along_axis(ranks, order, np.arange(order.shape[1], dtype=np.float32)[None] + first, axis=1)
    return ranks / order.shape[1]
