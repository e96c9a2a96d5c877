"""What a protocol finds when it searches queries in a gallery: numbers, and what they rest on."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bct_keras.evaluation.identification import Identification
from bct_keras.evaluation.verification import Verification

# (how many times, seed) -> metrics [times], each time with units drawn anew with replacement. The same seed draws the
# same units, so that two tests can be compared draw by draw.
Resampling = Callable[[int, int], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Measured:
    metrics: dict[str, float]
    resample: Resampling | None = None
    resampled_units: str = "identities"
    find_verification: Callable[[], Verification] | None = None  # made on demand: it may take seconds
    searches: tuple[Identification, ...] = field(default=())


def as_measured(found: "Measured | dict[str, float]") -> Measured:
    """A protocol that has nothing but numbers gives just those."""
    return found if isinstance(found, Measured) else Measured(found)


def rate_name(name: str, rate: float) -> str:
    return f"{name}={rate:.0e}".replace("e-0", "e-")
