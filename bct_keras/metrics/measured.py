"""What a protocol finds when it searches queries in a gallery: numbers, and what they rest on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bct_keras.metrics.identification import Identification
from bct_keras.metrics.influence import Influence
from bct_keras.metrics.verification import Verification

# Made on demand: metric -> how each unit moves it. Two tests of one protocol have the same units.
Influences = Callable[[], dict[str, Influence]]
# A rate of wrong ones is measured where at least so many of them are accepted; with fewer the
# threshold is chance.
LEAST_ACCEPTED = 10


@dataclass(frozen=True)
class Measured:
    metrics: dict[str, float]
    influences: Influences | None = None
    unresolved: tuple[
        str, ...
    ] = ()  # metrics that are given although too little is accepted at their rate
    units: str = "identities"  # what the influences belong to
    find_verification: Callable[[], Verification] | None = (
        None  # made on demand: it may take seconds
    )
    searches: tuple[Identification, ...] = field(default=())


def as_measured(found: "Measured | dict[str, float]") -> Measured:
    """Returns what a protocol finds; one that has nothing but numbers gives just those."""
    return found if isinstance(found, Measured) else Measured(found)


def is_resolvable(rate: float, wrong: float) -> bool:
    """Tells whether enough of the wrong ones (impostor pairs, or queries of unseen identities)
    pass at this rate.
    """
    return rate * wrong >= LEAST_ACCEPTED


def unresolved_notes(
    name: str, rates: Sequence[float], wrong: float, what_is_done: str
) -> list[str]:
    """Says in a sentence which rates the data are too few for, and what is done about them; none
    where all can be.
    """
    unresolved = [rate_name(name, rate) for rate in rates if not is_resolvable(rate, wrong)]
    if not unresolved:
        return []
    fewer = f"fewer than {LEAST_ACCEPTED} of {wrong:,.0f} impostor pairs would be accepted"
    return [
        f"{', '.join(unresolved)} {what_is_done}: {fewer}, so that the threshold would be chance"
    ]


def rate_name(name: str, rate: float) -> str:
    """Returns the name of a metric at a rate, such as TAR@FAR=1e-3."""
    return f"{name}={rate:.0e}".replace("e-0", "e-")
