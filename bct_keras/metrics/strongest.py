"""Guesses how high the strongest impostor pairs of a search score, from a few of its queries.

Whoever keeps all that reach the guess has the strongest ones if they are enough; if not, the guess
was too high, and it counts once more without one.
"""

import numpy as np

from bct_keras.metrics.columns import Columns
from bct_keras.metrics.verification import Embedded, cosines_of

SAMPLED = 4_000_000  # scores: of fewer pairs all are looked at
MARGIN = 1.3  # so many times the share that is wanted is taken from the sample


def sampled_rows(queries: int, images: int) -> np.ndarray | None:
    """Returns the rows of some queries, evenly spread; None where all are few enough."""
    if queries * images <= SAMPLED:
        return None
    step = max(queries * images // SAMPLED, 1)
    return np.arange(0, queries, step)


def likely_least(query: Embedded, entries: np.ndarray, columns: Columns, share: float) -> float:
    """Returns a score that more than a share of the impostor pairs is likely to reach.

    Args:
        query: All queries.
        entries: [dims, gallery] the gallery as it is arranged.
        columns: How it is arranged.
        share: How many are wanted, of all.
    """
    rows = sampled_rows(len(query.labels), entries.shape[1])
    if rows is None:
        return -np.inf
    scores = cosines_of(query.embeddings[rows], entries)
    columns.take_apart(scores, query.labels[rows])
    return reached_by(scores, share)


def reached_by(scores: np.ndarray, share: float) -> float:
    """Returns the score that somewhat more than a share of these reaches."""
    wanted = int(MARGIN * share * scores.size) + 1
    if wanted >= scores.size:
        return -np.inf
    place = scores.size - wanted
    return float(np.partition(scores, place, axis=None)[place])
