"""Four order constraints on triplets of a new query, an embedding of its own identity, and one
of another.
"""

import numpy as np

from bct_keras.metrics.verification import Embedded

# At most; each one is in as many triplets as the gallery has pairs of an own and another image.
QUERIES = 2000
SEED = 0


def order_constraints(query: Embedded, new: Embedded, old: Embedded) -> dict[str, float]:
    """Returns how often a new query is nearer to its own identity than to another one.

    The share of triplets where the query is nearer to its own identity's POSITIVE than to another's
    NEGATIVE, each of the two by the new or by the old encoder.
    """
    rows = np.arange(len(query.labels))
    if len(rows) > QUERIES:
        rows = np.sort(np.random.default_rng(SEED).choice(rows, QUERIES, replace=False))
    right = dict.fromkeys(
        [(positive, negative) for positive in ("new", "old") for negative in ("new", "old")], 0
    )
    triplets = 0
    for row in rows:
        scores = {
            name: side.embeddings @ query.embeddings[row]
            for name, side in (("new", new), ("old", old))
        }
        same = old.labels == query.labels[row]
        triplets += int(same.sum()) * int((~same).sum())
        others = {name: np.sort(each[~same]) for name, each in scores.items()}
        for positive, negative in right:
            right[positive, negative] += int(
                np.searchsorted(others[negative], scores[positive][same]).sum()
            )
    return {
        f"own {positive} nearer than another's {negative}": count / max(triplets, 1)
        for (positive, negative), count in right.items()
    }
