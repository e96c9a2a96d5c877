"""Chooses how much the new embedding counts in a query that is fused with the old one.

Identities that one of the encoders was trained on flatter it: on those of the new encoder the best
weight is too large, and on those of the old one too small. So the gain is measured on both kinds,
and their mean decides. Where only one kind is at hand, the plain mean of both embeddings is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bct_keras.encoders.derived import fused
from bct_keras.evaluate.retrieval import divide, measure
from bct_keras.metrics.verification import Embedded
from bct_keras.vectors import normalised

PLAIN_MEAN = 0.5
WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
ITEMS = 5000  # of a kind at most
SMALLEST = 1e-3  # of a metric, in a ratio: below it chance alone decides


@dataclass(frozen=True)
class Judges:
    """Items of one kind: what both encoders give for the old gallery, and whom they show."""

    name: str
    new: np.ndarray  # [items, old dims]
    old: np.ndarray  # [items, old dims]
    labels: np.ndarray  # [items]


@dataclass(frozen=True)
class Weight:
    """The weight that was chosen.

    Attributes:
        value: How much the new embedding counts, from 0 to 1.
        gains: For each kind of items, the gain at each of `WEIGHTS`.
    """

    value: float
    gains: dict[str, list[float]]


def chosen_weight(kinds: Sequence[Judges]) -> Weight:
    """Returns the weight at which the mean gain over the kinds of items is largest."""
    gains = {}
    for judges in kinds:
        gains[judges.name] = gains_by_weight(judges)
    if len(gains) < 2:
        return Weight(PLAIN_MEAN, gains)
    means = np.mean(list(gains.values()), axis=0)
    return Weight(WEIGHTS[int(np.argmax(means))], gains)


def gains_by_weight(judges: Judges) -> list[float]:
    """Returns for each weight how much a fused query gains in the old gallery.

    That is the mean over the metrics of log(fused / old alone), so that a rare metric counts as
    much as a common one.
    """
    rows = first_identities(judges.labels, ITEMS)
    _, labels = np.unique(judges.labels[rows], return_inverse=True)
    division = divide(labels, np.arange(len(labels)))
    old = normalised(judges.old[rows].astype(np.float32))
    new = normalised(judges.new[rows].astype(np.float32))
    gallery = Embedded(old[division.gallery], labels[division.gallery])

    def metrics_of(embeddings: np.ndarray) -> np.ndarray:
        query = Embedded(embeddings[division.query], labels[division.query])
        found = measure(query, gallery).metrics
        return np.maximum(list(found.values()), SMALLEST)

    alone = metrics_of(old)
    gains = []
    for weight in WEIGHTS:
        ratios = metrics_of(fused(new, old, weight)) / alone
        gains.append(float(np.log(ratios).mean()))
    return gains


def first_identities(labels: np.ndarray, count: int) -> np.ndarray:
    """Returns the rows of whole identities, as many as make `count` rows or a little more."""
    identities, numbers, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    before = np.cumsum(sizes) - sizes
    taken = int(np.count_nonzero(before < count))
    return np.flatnonzero(numbers < min(taken, len(identities)))
