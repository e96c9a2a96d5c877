"""Measures what queries find in a gallery, from the matrix of their scores.

The gallery may hold several images of an identity.

A tie counts against the encoder, as everywhere: an image of another identity with the same score
comes first.
"""

import numpy as np

from bct_keras.errors import InputError
from bct_keras.metrics.verification import TIE

RECALL_RANKS = 10


def top_k(
    scores: np.ndarray, query_labels: np.ndarray, gallery_labels: np.ndarray, k: int = 1
) -> float:
    """Returns the share of queries that have their own identity among the k nearest images.

    With k=1 that is rank-1. Queries whose identity is not in the gallery are left out.

    Args:
        scores: [queries, gallery] similarities, the higher the nearer.
        query_labels: [queries] identities.
        gallery_labels: [gallery] identities.
        k: Images of other identities are counted up to this rank.

    Example:
        >>> scores = np.array([[0.9, 0.2, 0.4], [0.8, 0.7, 0.1]])
        >>> top_k(scores, np.array([0, 1]), np.array([0, 1, 2]))
        0.5
    """
    same = same_identity(scores, query_labels, gallery_labels)
    mated = same.any(1)
    check_any(same)
    own = np.where(same, scores, -np.inf).max(1)  # [queries]
    others_above = np.sum((scores > own[:, None] - TIE) & ~same, axis=1)  # [queries]
    return float(np.mean(others_above[mated] < k))


def mean_average_precision(
    scores: np.ndarray, query_labels: np.ndarray, gallery_labels: np.ndarray
) -> float:
    """Returns mAP: 1 where all images of each query's identity come before all others.

    Queries whose identity is not in the gallery are left out.

    Args:
        scores: [queries, gallery] similarities, the higher the nearer.
        query_labels: [queries] identities.
        gallery_labels: [gallery] identities.

    Example:
        >>> scores = np.array([[0.9, 0.8, 0.7]])  # own, other, own: (1 / 1 + 2 / 3) / 2
        >>> round(mean_average_precision(scores, np.array([0]), np.array([0, 1, 0])), 4)
        0.8333
    """
    precisions = []
    for own, others in own_and_others(scores, query_labels, gallery_labels):
        precisions.append(average_precision(ranks_of_own(own, others)))
    return float(np.mean(precisions))


def recall_at_k(
    scores: np.ndarray, query_labels: np.ndarray, gallery_labels: np.ndarray, k: int = RECALL_RANKS
) -> float:
    """Returns how much of a query's identity is among the k nearest images.

    It is the share of the identity's images, and of these shares the mean over queries. Queries
    whose identity is not in the gallery are left out.

    Args:
        scores: [queries, gallery] similarities, the higher the nearer.
        query_labels: [queries] identities.
        gallery_labels: [gallery] identities.
        k: How many of the nearest images count.

    Example:
        >>> scores = np.array([[0.9, 0.8, 0.7]])
        >>> recall_at_k(scores, np.array([0]), np.array([0, 1, 0]), k=2)
        0.5
    """
    shares = []
    for own, others in own_and_others(scores, query_labels, gallery_labels):
        shares.append(recall(ranks_of_own(own, others), k))
    return float(np.mean(shares))


def own_and_others(
    scores: np.ndarray, query_labels: np.ndarray, gallery_labels: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns each query's scores with images of its own identity, and with all others.

    The scores with others are rising.
    """
    same = same_identity(scores, query_labels, gallery_labels)
    check_any(same)
    found = []
    for row, is_own in zip(scores, same, strict=True):
        if is_own.any():
            found.append((row[is_own], np.sort(row[~is_own])))
    return found


def ranks_of_own(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the ranks [own] of the images of a query's own identity, counted from 1.

    Args:
        own: [own] the query's scores with the images of its own identity.
        others: [others] those with all other images, rising.
    """
    falling = np.sort(own)[::-1]
    others_above = len(others) - np.searchsorted(others, falling - TIE, side="right")
    return others_above + np.arange(1, len(own) + 1)


def average_precision(ranks: np.ndarray) -> float:
    """Returns the average precision of one query, and 0 where it has no image in the gallery.

    Args:
        ranks: [own] the ranks of its own identity's images, from 1.
    """
    if not len(ranks):
        return 0.0
    # AP = mean over its own images of (how many of its own are at least as near) / rank
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def recall(ranks: np.ndarray, k: int = RECALL_RANKS) -> float:
    """Returns the share of one query's own images that are among the k nearest; 0 without any."""
    return float(np.mean(ranks <= k)) if len(ranks) else 0.0


def same_identity(
    scores: np.ndarray, query_labels: np.ndarray, gallery_labels: np.ndarray
) -> np.ndarray:
    """Returns which pairs are of one identity [queries, gallery]."""
    expected = (len(query_labels), len(gallery_labels))
    if np.shape(scores) != expected:
        raise InputError(
            f"scores have the shape {np.shape(scores)}, and {expected[0]} queries and "
            f"{expected[1]} images are labelled"
        )
    return np.asarray(query_labels)[:, None] == np.asarray(gallery_labels)[None, :]


def check_any(same: np.ndarray) -> None:
    """Refuses queries of which none has an image of its identity in the gallery."""
    if not same.any():
        raise InputError(
            "no query has an image of its identity in the gallery: nothing can be found"
        )
