"""Makes the scores of old and of new entries comparable, so that one list can be made of them.

In one space their cosines are compared as they are. In two each counts as the false accept rate
that it stands for (`calibration`), or by how much likelier it is for one identity than for two
(`odds`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from bct_keras.metrics.calibration import Calibration
from bct_keras.metrics.odds import Odds
from bct_keras.metrics.verification import Sides, cosines_of

# The logarithm of a rate falls by about so much for each cosine of 1: divided by it, scores are
# tied where cosines are.
STEEPNESS = 50.0
CALIBRATED_BY = 20_000_000  # pairs at most
Score = Callable[[np.ndarray], np.ndarray]  # what cosines stand for, the higher the better


class Parts(NamedTuple):
    """Holds both ways in which an image can be in a gallery, in the same order of images."""

    old: Sides  # what old entries are searched by, and the old entries
    new: Sides  # what new entries are searched by, and the new entries


class Pairs(NamedTuple):
    """Holds the cosines of pairs of one identity, and of pairs of two."""

    genuine: np.ndarray
    impostors: np.ndarray


class Merge(Protocol):
    """Gives the scores of some queries with both kinds of entries, which can be compared."""

    def scores(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Returns the scores [queries, gallery] with old entries and with new ones."""
        ...


@dataclass(frozen=True)
class ByCosine:
    """Compares cosines as they are, which takes one space."""

    parts: Parts

    def scores(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Returns the cosines [queries, gallery] with old entries and with new ones."""
        old, new = self.parts
        return cosines(old, rows), cosines(new, rows)


@dataclass(frozen=True)
class Calibrated:
    """Compares what cosines stand for.

    A query's cosines count by what pairs of other identities say: those of the other half.
    """

    parts: Parts
    old: tuple[Score, Score]  # for queries of even and of odd labels
    new: tuple[Score, Score]

    def scores(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Returns the scores [queries, gallery] with old entries and with new ones."""
        old, new = self.parts
        of_old = scored(cosines(old, rows), old.query.labels[rows], self.old)
        of_new = scored(cosines(new, rows), new.query.labels[rows], self.new)
        return of_old, of_new


def by_rate(parts: Parts) -> Calibrated:
    """Returns what compares the false accept rates that cosines stand for."""

    def learnt(pairs: Pairs) -> Score:
        calibration = Calibration.of_impostors(pairs.impostors)
        return lambda found: -calibration.log_rate(found)

    return Calibrated(parts, by_halves(parts.old, learnt), by_halves(parts.new, learnt))


def by_odds(parts: Parts) -> Calibrated:
    """Returns what compares how much likelier cosines are for one identity than for two."""

    def learnt(pairs: Pairs) -> Score:
        return Odds.of_pairs(pairs.genuine, pairs.impostors).log_odds

    return Calibrated(parts, by_halves(parts.old, learnt), by_halves(parts.new, learnt))


def cosines(sides: Sides, rows: slice) -> np.ndarray:
    """Returns the cosines of some queries with all entries [queries, gallery]."""
    return cosines_of(sides.query.embeddings[rows], sides.gallery.embeddings.T)


def scored(cosines: np.ndarray, labels: np.ndarray, scores: tuple[Score, Score]) -> np.ndarray:
    """Returns what cosines stand for, the higher the better.

    Args:
        cosines: [queries, gallery]
        labels: [queries]
        scores: For queries of even and of odd labels.
    """
    found = np.empty(cosines.shape, np.float32)
    for half, score in enumerate(scores):
        inside = labels % 2 == half
        found[inside] = score(cosines[inside]) / STEEPNESS
    return found


def can_calibrate(sides: Sides) -> bool:
    """Tells whether both halves of the identities have pairs of one identity and pairs of two."""
    for half in (0, 1):
        queries = np.unique(sides.query.labels[sides.query.labels % 2 == half])
        images = np.unique(sides.gallery.labels[sides.gallery.labels % 2 == half])
        if len(images) < 2 or not len(np.intersect1d(queries, images)):
            return False
    return True


def by_halves(sides: Sides, learnt: Callable[[Pairs], Score]) -> tuple[Score, Score]:
    """Returns the score for each half of the identities, learnt from pairs of the other half."""
    return learnt(pairs_of(sides, half=1)), learnt(pairs_of(sides, half=0))


def pairs_of(sides: Sides, half: int) -> Pairs:
    """Returns the cosines of pairs, both of whose labels are even or both odd."""
    queries = np.flatnonzero(sides.query.labels % 2 == half)
    images = np.flatnonzero(sides.gallery.labels % 2 == half)
    most = max(CALIBRATED_BY // len(images), 1)
    step = -(-len(queries) // most)  # rounded up
    queries = queries[::step]
    scores = cosines_of(sides.query.embeddings[queries], sides.gallery.embeddings[images].T)
    same = sides.query.labels[queries][:, None] == sides.gallery.labels[images]
    return Pairs(genuine=scores[same], impostors=scores[~same])
