"""How much each unit, mostly an identity, moves a metric; and from that, how sure a difference
of two metrics is.

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
    """The part of each unit in one metric's distance from the truth, or in the distance of a
    difference.
    """

    own: np.ndarray  # [units] by what the unit's own queries find
    by_threshold: np.ndarray  # [units] by how the unit moves the threshold
    row: float  # how much a single query, or genuine pair, counts in the metric
    pair_keys: np.ndarray = field(
        default_factory=no_pairs
    )  # [pairs] first unit * units + second unit
    by_pair: np.ndarray = field(
        default_factory=no_pairs
    )  # [pairs] what a pair of two units adds to the parts of both
    thinned: float = 0.0  # what squares of pairs are too large by, where a pair stands for several

    def __sub__(self, other: Influence) -> Influence:
        return Influence(
            self.own - other.own,
            self.by_threshold - other.by_threshold,
            max(self.row, other.row),
            np.concatenate([self.pair_keys, other.pair_keys]),
            np.concatenate([self.by_pair, -other.by_pair]),
            self.thinned + other.thinned,
        )

    @property
    def parts(self) -> np.ndarray:
        """Returns the whole part of each unit [units]."""
        return self.own + self.by_threshold

    def standard_error(self) -> float:
        """Returns how far the metric, or the difference, lies from the truth in the root mean
        square.
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
        return float(
            np.sqrt(variance * (1.0 + WEIGHT_OF_KURTOSIS * max(kurtosis - 3.0, 0.0) / units))
        )

    def squares_of_pairs(self) -> float:
        """Returns what the sum of the squared parts counts twice."""
        if not len(self.pair_keys):
            return 0.0
        _, place = np.unique(self.pair_keys, return_inverse=True)
        by_pair = np.bincount(place, self.by_pair)
        return max(float(np.sum(by_pair**2)) - self.thinned, 0.0)


def of_shares(values: np.ndarray, units: np.ndarray, count: int) -> Influence:
    """Returns the influence on the mean of `values` [rows], which belong to `units` [rows],
    numbers below `count`.
    """
    own = np.bincount(units, values - values.mean(), minlength=count) / len(values)
    return Influence(own, np.zeros(count), 1.0 / len(values))


def mean_of(influences: list[Influence]) -> Influence:
    """Returns the influence on the mean of several metrics of the same units."""
    share = 1.0 / len(influences)
    return Influence(
        share * np.sum([each.own for each in influences], axis=0),
        share * np.sum([each.by_threshold for each in influences], axis=0),
        share * max(each.row for each in influences),
    )


def of_tar(found: Verification, far: float) -> Influence:
    """Returns the influence on TAR at a FAR: by the genuine pairs of a unit, and by its pairs
    with others.

    TAR(t) moves by (accepted genuine pairs - TAR * genuine pairs) / all genuine pairs; the
    threshold t, by how many impostor pairs of the unit are accepted beyond the expected `far`,
    times the slope of TAR over log FAR.
    """
    accepted = far * found.impostor_pairs
    threshold, tar = found.threshold_and_tar(far)
    hits = (found.genuine > threshold + TIE) - tar
    own = np.bincount(found.genuine_identities, hits, minlength=found.identities) / len(
        found.genuine
    )
    slope = slope_of_tar(found, far) / accepted

    above = found.impostors > threshold
    first, second = found.impostor_identities[above].T
    stands_for = found.stands_for[above]
    excess = np.bincount(first, stands_for, minlength=found.identities) - far * found.impostors_of
    both = second != NOBODY
    excess += np.bincount(second[both], stands_for[both], minlength=found.identities)
    lower, upper = np.minimum(first, second)[both], np.maximum(first, second)[both]
    return Influence(
        own,
        -slope * excess,
        1.0 / len(found.genuine),
        lower.astype(np.int64) * found.identities + upper,
        -slope * stands_for[both],
        slope**2 * float(np.sum(stands_for[both] * (stands_for[both] - 1))),
    )


def slope_of_tar(found: Verification, far: float) -> float:
    """Returns d TAR / d log FAR."""
    highest = (
        float(found.stands_for.sum()) / found.impostor_pairs
    )  # FAR of all the impostors that were kept
    above, below = min(SLOPE_SPAN * far, highest), far / SLOPE_SPAN
    rise = found.threshold_and_tar(above)[1] - found.threshold_and_tar(below)[1]
    return rise / np.log(above / below)


def of_tpir(found: Identification, fpir: float, count: int) -> Influence:
    """Returns the influence on TPIR at an FPIR: by the mated probes of a unit, and by its probes
    that are not mated.
    """
    alarms = np.sort(found.best_other[~found.mated])[::-1]
    wanted = max(int(len(alarms) * fpir), 1)
    own_score, first = found.own[found.mated], found.others_above[found.mated] == 0

    def threshold_and_rate(alarms_let_in: float) -> tuple[float, np.ndarray]:
        place = int(np.clip(round(alarms_let_in) - 1, 0, len(alarms) - 1))
        return float(alarms[place]), first & (own_score > alarms[place])

    threshold, hits = threshold_and_rate(wanted)
    own = np.bincount(found.identities[found.mated], hits - hits.mean(), minlength=count) / len(
        hits
    )
    above, below = min(SLOPE_SPAN * wanted, len(alarms)), max(wanted / SLOPE_SPAN, 1)
    rise = threshold_and_rate(above)[1].mean() - threshold_and_rate(below)[1].mean()
    slope = rise / np.log(above / below) if above > below else 0.0
    raised = (found.best_other[~found.mated] >= threshold) - wanted / len(alarms)
    excess = np.bincount(found.identities[~found.mated], raised, minlength=count)
    return Influence(own, -slope * excess / wanted, 1.0 / len(hits))
