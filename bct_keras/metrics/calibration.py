"""Makes scores of different embedding spaces comparable, by the false accept rate of each.

A cosine of 0.6 may be a rare accident in one space and nothing special in another. What can be
compared is how many pairs of two identities, called impostors, score as high: the lower this rate,
the better the match.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bct_keras.errors import InputError
from bct_keras.metrics.measured import LEAST_ACCEPTED
from bct_keras.metrics.verification import BINS, Verification

POINTS = 64
LOWEST_COSINE = -1.0
# How much of the curve tells where it goes beyond the strongest impostors: a tenfold of its rates.
TAIL = np.log(10.0) - 1e-9


@dataclass(frozen=True)
class Calibration:
    """Holds the false accept rate at some cosines of one space.

    Between two points the logarithm of the rate is a straight line. Beyond the last point it goes
    on as it fell over the last tenfold, so that two cosines never have the same rate.

    Args:
        cosines: [points] rising.
        rates: [points] falling, each above 0 and at most 1.

    Example:
        >>> calibration = Calibration(np.array([-1.0, 0.0, 0.5]), np.array([1.0, 0.1, 0.01]))
        >>> calibration.rate(np.array([0.0, 0.25, 0.5, 1.0])).round(6)
        array([0.1     , 0.031623, 0.01    , 0.001   ])
    """

    cosines: np.ndarray
    rates: np.ndarray

    def __post_init__(self) -> None:
        if self.cosines.ndim != 1 or self.cosines.shape != self.rates.shape:
            raise InputError(
                f"a calibration needs one rate of each cosine, and has {self.rates.size} rates of "
                f"{self.cosines.size} cosines"
            )
        if len(self.cosines) < 2:
            raise InputError("a calibration needs two points at least")
        if not np.all(np.diff(self.cosines) > 0):
            raise InputError("the cosines of a calibration have to rise")
        if not np.all(np.diff(self.rates) < 0):
            raise InputError("the rates of a calibration have to fall")
        if not 0.0 < self.rates[-1] < self.rates[0] <= 1.0:
            raise InputError("the rates of a calibration have to be above 0 and at most 1")

    @classmethod
    def of_impostors(cls, scores: np.ndarray) -> Calibration:
        """Returns the calibration that the scores of pairs of two identities give.

        Args:
            scores: Their cosines, in any order.

        Example:
            >>> calibration = Calibration.of_impostors(np.linspace(-1.0, 1.0, 999))
            >>> calibration.rate(np.array([0.0, 0.8])).round(2)
            array([0.5, 0.1])
        """
        falling = np.sort(np.asarray(scores, np.float64).ravel())[::-1]
        if not len(falling):
            raise InputError("a calibration needs pairs of two identities, and there are none")
        counts = spaced_counts(len(falling))
        # One more than there are: a pair that comes next may score below all of them.
        return cls.of_points(falling[counts - 1], counts / (len(falling) + 1))

    @classmethod
    def of_verification(cls, found: Verification) -> Calibration:
        """Returns the calibration of a search, that keeps the strongest impostors alone.

        Of the others it has a histogram.
        """
        pairs = found.impostor_pairs + 1
        counted = found.counted_impostors
        wanted = spaced_counts(int(counted[-1]))
        places = np.minimum(np.searchsorted(counted, wanted), len(counted) - 1)
        cosines = found.impostors[places]
        rates = counted[places] / pairs

        histogram = found.impostor_histogram
        at_least = np.cumsum(histogram[::-1])[::-1]  # [bins] scores in this bin or a higher one
        share = at_least / max(at_least[0], 1) * (found.impostor_pairs / pairs)
        edges = BINS[:-1]
        weaker = (edges < cosines.min()) & (share > rates.max())
        return cls.of_points(
            np.concatenate([cosines, edges[weaker]]), np.concatenate([rates, share[weaker]])
        )

    @classmethod
    def of_points(cls, cosines: np.ndarray, rates: np.ndarray) -> Calibration:
        """Returns the calibration through some points, in any order.

        It leaves out points that do not fall, and keeps some POINTS of many.
        """
        cosines = np.append(np.maximum(cosines, LOWEST_COSINE), LOWEST_COSINE)
        rates = np.append(rates, 1.0)
        order = np.lexsort((-rates, cosines))
        cosines, rates = cosines[order].astype(np.float64), rates[order]
        # Of points with one cosine the highest rate holds: so many impostors are at least there.
        cosines, first = np.unique(cosines, return_index=True)
        rates = rates[first]
        lowest_before = np.minimum.accumulate(np.append(np.inf, rates[:-1]))
        falls = rates < lowest_before
        cosines, rates = cosines[falls], rates[falls]
        kept = evenly_spaced(np.log(rates))
        return cls(cosines[kept], rates[kept])

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Calibration:
        """Returns the calibration that a report holds."""
        try:
            cosines = np.array(facts["cosines"], np.float64)
            rates = np.array(facts["rates"], np.float64)
        except (KeyError, TypeError, ValueError):
            raise InputError(
                "a calibration needs `cosines` and `rates`, lists of numbers"
            ) from None
        return cls(cosines, rates)

    def facts(self) -> dict[str, list[float]]:
        """Returns the points as a report holds them."""
        return {"cosines": self.cosines.tolist(), "rates": self.rates.tolist()}

    def rate(self, cosines: np.ndarray) -> np.ndarray:
        """Returns the false accept rate of each cosine, in the same shape."""
        return np.exp(self.log_rate(cosines))

    def log_rate(self, cosines: np.ndarray) -> np.ndarray:
        """Returns the natural logarithm of each rate: it ranks where rates are too small."""
        cosines = np.asarray(cosines, np.float64)
        logs = np.log(self.rates)
        within = np.interp(cosines, self.cosines, logs)
        beyond = np.maximum(cosines - self.cosines[-1], 0.0)
        return within - beyond * self.fall_of_tail()

    def fall_of_tail(self) -> float:
        """Returns how much the logarithm of the rate falls per cosine, over the last tenfold."""
        logs = np.log(self.rates)
        # The last point that is a tenfold above the end, or the first point of all.
        enough = np.flatnonzero(logs >= logs[-1] + TAIL)
        start = enough[-1] if len(enough) else 0
        return float((logs[start] - logs[-1]) / (self.cosines[-1] - self.cosines[start]))


def spaced_counts(impostors: int) -> np.ndarray:
    """Returns at most POINTS - 1 whole numbers up to all impostors, in even ratios.

    It starts where enough impostors are accepted for a rate to be no chance.
    """
    first = min(LEAST_ACCEPTED, max(impostors // LEAST_ACCEPTED, 1))
    exact = np.geomspace(first, impostors, POINTS - 1)
    return np.unique(np.round(exact).astype(np.int64))


def evenly_spaced(falling: np.ndarray) -> np.ndarray:
    """Returns the places of at most POINTS values, in even steps from the first to the last."""
    if len(falling) <= POINTS:
        return np.arange(len(falling))
    wanted = np.linspace(falling[0], falling[-1], POINTS)
    places = np.searchsorted(-falling, -wanted, side="left")
    return np.unique(np.minimum(places, len(falling) - 1))
