"""Computes how much each unit, mostly an identity, moves a metric.

From that follows how sure a metric, or a difference of two metrics, is.

A metric is nearly a sum with one part per identity. How far these parts spread tells how far the
metric would move if other people had been measured. A score of two identities belongs to the parts
of both, so the square of what their pair adds is counted twice, and is taken away once: the
variance that Aronow, Samii and Assenova give for pairs (https://arxiv.org/abs/1312.3398). A
bootstrap that multiplies the weights of both identities counts it three times, and its intervals of
TAR at a low FAR are up to 1.8 times too wide.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bct_keras.metrics.identification import Identification
from bct_keras.metrics.verification import NOBODY, SLOPE_SPAN, TIE, Verification

# Near a metric's ceiling few units differ, and they say too little of how far all would spread. The
# variance is made larger by the excess kurtosis of the parts, which is 0 for a normal distribution,
# over the number of units; so often.
WEIGHT_OF_KURTOSIS = 2


def no_pairs() -> np.ndarray:
    """Returns what stands for no pairs."""
    return np.empty(0)


@dataclass(frozen=True)
class Influence:
    """Holds the part that each unit has in a metric's distance from the truth.

    The metric may also be a difference of two metrics of the same units.
    """

    own: np.ndarray  # [units] by what the unit's own queries find
    by_threshold: np.ndarray  # [units] by how the unit moves the threshold
    row: float  # how much a single query, or genuine pair, counts in the metric
    # [pairs] first unit * units + second unit
    pair_keys: np.ndarray = field(default_factory=no_pairs)
    # [pairs] what a pair of two units adds to the parts of both
    by_pair: np.ndarray = field(default_factory=no_pairs)
    thinned: float = 0.0  # what squares of pairs are too large by, where a pair stands for several

    def __sub__(self, other: Influence) -> Influence:
        return Influence(
            own=self.own - other.own,
            by_threshold=self.by_threshold - other.by_threshold,
            row=max(self.row, other.row),
            pair_keys=np.concatenate([self.pair_keys, other.pair_keys]),
            by_pair=np.concatenate([self.by_pair, -other.by_pair]),
            thinned=self.thinned + other.thinned,
        )

    @property
    def parts(self) -> np.ndarray:
        """Returns the whole part of each unit [units]."""
        return self.own + self.by_threshold

    def standard_error(self) -> float:
        """Returns the standard error: how far the metric lies from the truth.

        It is the root of the mean square of that distance.
        """
        parts = self.parts - self.parts.mean()
        units = len(parts)
        squares = float(np.sum(parts**2))
        twice = self.squares_of_pairs()
        # Of few units the sum of squares may come out below what the pairs alone add.
        variance = max(units / max(units - 1, 1) * squares - twice, twice)
        if not np.any(self.own):  # no query came out differently: a single one could have
            return float(np.sqrt(variance + WEIGHT_OF_KURTOSIS * self.row**2))
        kurtosis = units * float(np.sum(parts**4)) / squares**2
        excess = max(kurtosis - 3.0, 0.0)
        larger = 1.0 + WEIGHT_OF_KURTOSIS * excess / units
        return float(np.sqrt(variance * larger))

    def squares_of_pairs(self) -> float:
        """Returns what the sum of the squared parts counts twice."""
        if not len(self.pair_keys):
            return 0.0
        _, place = np.unique(self.pair_keys, return_inverse=True)
        by_pair = np.bincount(place, self.by_pair)
        squares = float(np.sum(by_pair**2))
        return max(squares - self.thinned, 0.0)


def of_shares(values: np.ndarray, units: np.ndarray, count: int) -> Influence:
    """Returns the influence on the mean of some values.

    Args:
        values: [rows] what a mean is taken of.
        units: [rows] the number of the unit that each value belongs to, from 0.
        count: How many units there are.
    """
    rows = len(values)
    sums = np.bincount(units, values - values.mean(), minlength=count)
    return Influence(own=sums / rows, by_threshold=np.zeros(count), row=1.0 / rows)


def mean_of(influences: list[Influence]) -> Influence:
    """Returns the influence on the mean of several metrics of the same units."""
    share = 1.0 / len(influences)
    own = np.sum([each.own for each in influences], axis=0)
    by_threshold = np.sum([each.by_threshold for each in influences], axis=0)
    row = max(each.row for each in influences)
    # A pair of two units adds to the mean what it adds to each metric, times the share.
    pair_keys = np.concatenate([each.pair_keys for each in influences])
    by_pair = np.concatenate([each.by_pair for each in influences])
    thinned = sum(each.thinned for each in influences)
    return Influence(
        own=share * own,
        by_threshold=share * by_threshold,
        row=share * row,
        pair_keys=pair_keys,
        by_pair=share * by_pair,
        thinned=share**2 * thinned,
    )


def of_tar(found: Verification, far: float) -> Influence:
    """Returns the influence on TAR, the true accept rate, at a FAR, the false accept rate.

    A unit moves TAR by its genuine pairs, and by its pairs with others, which move the threshold.
    TAR(t) moves by (accepted genuine pairs - TAR * genuine pairs) / all genuine pairs; the
    threshold t, by how many impostor pairs of the unit are accepted beyond the expected `far`,
    times the slope of TAR over log FAR.
    """
    units = found.identities
    genuine_pairs = len(found.genuine)
    accepted = far * found.impostor_pairs
    threshold, tar = found.threshold_and_tar(far)
    hits = (found.genuine > threshold + TIE) - tar
    own = np.bincount(found.genuine_identities, hits, minlength=units) / genuine_pairs
    slope = slope_of_tar(found, far) / accepted

    above = found.impostors > threshold
    first, second = found.impostor_identities[above].T
    stands_for = found.stands_for[above]
    excess = np.bincount(first, stands_for, minlength=units) - far * found.impostors_of
    # Pairs of two units; the others count for their first one alone.
    both = second != NOBODY
    first, second, stands_for = first[both], second[both], stands_for[both]
    excess += np.bincount(second, stands_for, minlength=units)
    lower = np.minimum(first, second).astype(np.int64)
    upper = np.maximum(first, second)
    return Influence(
        own=own,
        by_threshold=-slope * excess,
        row=1.0 / genuine_pairs,
        pair_keys=lower * units + upper,
        by_pair=-slope * stands_for,
        thinned=slope**2 * float(np.sum(stands_for * (stands_for - 1))),
    )


def slope_of_tar(found: Verification, far: float) -> float:
    """Returns d TAR / d log FAR."""
    # FAR of all the impostors that were kept
    highest = float(found.stands_for.sum()) / found.impostor_pairs
    above = min(SLOPE_SPAN * far, highest)
    below = far / SLOPE_SPAN
    _, tar_above = found.threshold_and_tar(above)
    _, tar_below = found.threshold_and_tar(below)
    return (tar_above - tar_below) / np.log(above / below)


def of_tpir(found: Identification, fpir: float, count: int) -> Influence:
    """Returns the influence on TPIR at an FPIR, the rates of true and of false identifications.

    A unit moves TPIR by its mated probes, and by those that are not mated, which move the
    threshold.

    Args:
        found: What the search of each probe comes to.
        fpir: The share of the probes that are not mated that may raise an alarm.
        count: How many units there are.
    """
    mated, unmated = found.mated, ~found.mated
    best_of_unmated = found.best_other[unmated]
    alarms = np.sort(best_of_unmated)[::-1]
    wanted = max(int(len(alarms) * fpir), 1)
    own_score = found.own[mated]
    is_first = found.others_above[mated] == 0

    def threshold_of(alarms_let_in: float) -> float:
        last = len(alarms) - 1
        place = int(np.clip(round(alarms_let_in) - 1, 0, last))
        return alarms[place]

    def hits_above(threshold: float) -> np.ndarray:
        return is_first & (own_score > threshold)

    threshold = threshold_of(wanted)
    hits = hits_above(threshold)
    own = np.bincount(found.identities[mated], hits - hits.mean(), minlength=count) / len(hits)

    # d TPIR / d log FPIR
    above = min(SLOPE_SPAN * wanted, len(alarms))
    below = max(wanted / SLOPE_SPAN, 1)
    slope = 0.0
    if above > below:
        more = hits_above(threshold_of(above)).mean()
        fewer = hits_above(threshold_of(below)).mean()
        slope = (more - fewer) / np.log(above / below)
    raised = (best_of_unmated >= threshold) - wanted / len(alarms)
    excess = np.bincount(found.identities[unmated], raised, minlength=count)
    return Influence(own=own, by_threshold=-slope * excess / wanted, row=1.0 / len(hits))
