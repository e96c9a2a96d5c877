"""Makes scores of different embedding spaces comparable, by what each tells of an identity.

A false accept rate alone (`calibration`) says how rare a cosine is among pairs of two identities,
and not whether pairs of one have it more often. In a space that tells identities badly a rare
cosine is an accident still. What ranks both kinds of entries well is how much likelier so high a
cosine is for one identity than for two:

log odds(c) = log TAR(c) - log FAR(c)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bct_keras.errors import InputError
from bct_keras.metrics.calibration import Calibration
from bct_keras.metrics.verification import Verification

GRID = np.linspace(-1.0, 1.0, 801)
# How much the log odds rise with a cosine of 1 at least: within one space they keep its order.
LEAST_RISE = 0.1


@dataclass(frozen=True)
class Odds:
    """Holds how often pairs of one identity, and pairs of two, have so high a cosine.

    Args:
        genuine: The shares of pairs of one identity, TAR at each cosine.
        impostors: Those of pairs of two, FAR.

    Example:
        >>> strong = Odds.of_pairs(np.linspace(0.5, 1.0, 99), np.linspace(-1.0, 0.3, 99))
        >>> useless = Odds.of_pairs(np.linspace(-1.0, 1.0, 99), np.linspace(-1.0, 1.0, 99))
        >>> bool(strong.log_odds(np.array(0.6)) > useless.log_odds(np.array(0.9)))
        True
    """

    genuine: Calibration
    impostors: Calibration

    @classmethod
    def of_pairs(cls, genuine: np.ndarray, impostors: np.ndarray) -> "Odds":
        """Returns what the cosines of pairs of one identity, and of pairs of two, tell."""
        return cls(Calibration.of_impostors(genuine), Calibration.of_impostors(impostors))

    @classmethod
    def of_verification(cls, found: Verification) -> "Odds":
        """Returns what all pairs of a search tell."""
        genuine = Calibration.of_impostors(found.genuine)
        return cls(genuine, Calibration.of_verification(found))

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Odds":
        """Returns what a report holds."""
        if not isinstance(facts.get("genuine"), Mapping):
            raise InputError("a calibration needs `genuine`, the rates of pairs of one identity")
        return cls(Calibration.from_facts(facts["genuine"]), Calibration.from_facts(facts))

    def facts(self) -> dict[str, Any]:
        """Returns the points as a report holds them: a calibration, with `genuine` beside it."""
        return {**self.impostors.facts(), "genuine": self.genuine.facts()}

    def log_odds(self, cosines: np.ndarray) -> np.ndarray:
        """Returns the logarithm of the odds of each cosine, in the same shape; it rises."""
        return np.interp(cosines, GRID, self.on_grid)

    @cached_property
    def on_grid(self) -> np.ndarray:
        """Returns the log odds at each cosine of GRID."""
        odds = self.genuine.log_rate(GRID) - self.impostors.log_rate(GRID)
        # Where too few pairs say that they fall, they rise by LEAST_RISE.
        above = np.maximum.accumulate(odds - LEAST_RISE * GRID)
        return above + LEAST_RISE * GRID
