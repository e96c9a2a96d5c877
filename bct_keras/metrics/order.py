"""Measures four order constraints on triplets.

A triplet is a new query, an embedding of its own identity, and one of another identity.
"""

import itertools

import numpy as np

from bct_keras.metrics.verification import Embedded, cosines_of

# At most; each one is in as many triplets as the gallery has pairs of an own and another image.
QUERIES = 2000
SEED = 0
ROWS_AT_ONCE = 128


def order_constraints(query: Embedded, new: Embedded, old: Embedded) -> dict[str, float]:
    """Returns how often a new query is nearer to its own identity than to another one.

    Returns, by name, the share of triplets where the query is nearer to its own identity's
    POSITIVE than to another's NEGATIVE, each of the two by the new or by the old encoder.

    Args:
        query: The new encoder's queries.
        new: The gallery by the new encoder.
        old: The same images by the old one.
    """
    galleries = {"new": new, "old": old}
    right = dict.fromkeys(itertools.product(galleries, repeat=2), 0)  # (positive, negative)
    triplets = 0
    rows = compared_rows(len(query.labels))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        block = rows[start : start + ROWS_AT_ONCE]
        scores = {}
        for name, gallery in galleries.items():
            # [block, gallery]
            scores[name] = cosines_of(query.embeddings[block], gallery.embeddings.T)
        for place, row in enumerate(block):
            same = old.labels == query.labels[row]
            triplets += int(same.sum()) * int((~same).sum())
            own, others = {}, {}
            for name in galleries:
                own[name] = scores[name][place, same]
                others[name] = np.sort(scores[name][place, ~same])
            for positive, negative in right:
                below = np.searchsorted(others[negative], own[positive])
                right[positive, negative] += int(below.sum())
    shares = {}
    for (positive, negative), count in right.items():
        name = f"own {positive} nearer than another's {negative}"
        shares[name] = count / max(triplets, 1)
    return shares


def compared_rows(queries: int) -> np.ndarray:
    """Returns the rows of the queries that are compared: all, or QUERIES of them by chance."""
    rows = np.arange(queries)
    if queries <= QUERIES:
        return rows
    random = np.random.default_rng(SEED)
    return np.sort(random.choice(rows, QUERIES, replace=False))
