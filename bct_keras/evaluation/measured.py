"""What a protocol finds when it searches queries in a gallery: numbers, and what they rest on."""

from collections.abc import Callable
from dataclasses import dataclass, field

from bct_keras.evaluation.identification import Identification
from bct_keras.evaluation.influence import Influence
from bct_keras.evaluation.verification import Verification

# Made on demand: metric -> how each unit moves it. Two tests of one protocol have the same units.
Influences = Callable[[], dict[str, Influence]]


@dataclass(frozen=True)
class Measured:
    metrics: dict[str, float]
    influences: Influences | None = None
    units: str = "identities"  # what the influences belong to
    find_verification: Callable[[], Verification] | None = None  # made on demand: it may take seconds
    searches: tuple[Identification, ...] = field(default=())


def as_measured(found: "Measured | dict[str, float]") -> Measured:
    """A protocol that has nothing but numbers gives just those."""
    return found if isinstance(found, Measured) else Measured(found)


def rate_name(name: str, rate: float) -> str:
    return f"{name}={rate:.0e}".replace("e-0", "e-")
