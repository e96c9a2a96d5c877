"""What an upgrade gains without any training.

Either new queries are mapped into the old space by a rotation, or the old and the new encoder each
search a part of the gallery and the ranks of the two searches are merged.
"""

import numpy as np

from bct_keras.metrics.verification import Embedded, Sides
from bct_keras.vectors import normalised

QUERIES_AT_ONCE = 512


def procrustes_map(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Returns the rotation R [new dims, old dims] that minimises |new R - old|.

    https://en.wikipedia.org/wiki/Orthogonal_Procrustes_problem

    Args:
        new: [images, new dims] embeddings by the new encoder.
        old: [images, old dims] embeddings of the same images by the old one.

    Example:
        >>> procrustes_map(np.eye(2), np.array([[0.0, 1.0], [-1.0, 0.0]]))
        array([[ 0.,  1.],
               [-1.,  0.]])
    """
    # new' old = U S V'  ->  R = U V'
    left, _, right = np.linalg.svd(new.T.astype(np.float64) @ old, full_matrices=False)
    return left @ right


def mapped(query: Embedded, rotation: np.ndarray) -> Embedded:
    """Returns the queries in the old space."""
    turned = normalised(query.embeddings @ rotation)
    return Embedded(turned.astype(np.float32), query.labels)


def merged_top(old: Sides, new: Sides, refreshed: np.ndarray, rank: int = 1) -> float:
    """Returns the share of queries found at the rank by two searches whose ranks are merged.

    Old queries search what is still old, and new ones what is re-embedded. Scores of two encoders
    cannot be compared; ranks can, each as a share of the part that was searched.
    https://arxiv.org/abs/2301.03767

    Args:
        old: Queries and gallery by the old encoder.
        new: The same images by the new one.
        refreshed: [gallery] which images are re-embedded.
        rank: How many images of other identities are too many before the first of its own.
    """
    found = 0
    labels = old.gallery.labels
    queries = len(old.query.labels)
    for start in range(0, queries, QUERIES_AT_ONCE):
        block = slice(start, start + QUERIES_AT_ONCE)
        query_labels = old.query.labels[block]
        place = np.empty((len(query_labels), len(labels)), np.float32)  # [queries, gallery]
        # Of two at the same place the new encoder's goes first.
        for sides, part, first in ((old, ~refreshed, 0.5), (new, refreshed, 0.49)):
            if part.any():
                scores = sides.query.embeddings[block] @ sides.gallery.embeddings[part].T
                place[:, part] = rank_shares(scores, first)
        same = query_labels[:, None] == labels
        own = np.where(same, place, np.inf).min(1)
        # A tie counts against us, as everywhere.
        others_before = np.sum((place <= own[:, None]) & ~same, axis=1)
        found += int(np.sum(others_before < rank))
    return found / queries


def rank_shares(scores: np.ndarray, first: float) -> np.ndarray:
    """Returns each row's ranks, counted from `first`, divided by how many there are.

    Args:
        scores: [queries, gallery] similarities, the higher the nearer.
        first: The rank of the nearest image.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    count = order.shape[1]
    counted = np.arange(count, dtype=np.float32) + first
    ranks = np.empty(order.shape, np.float32)
    np.put_along_axis(ranks, order, counted[None], axis=1)
    return ranks / count
