"""Holds what a protocol finds in a search: numbers, and what they rest on."""

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
    """Holds the metrics of one search, and what they rest on."""

    metrics: dict[str, float]
    influences: Influences | None = None
    # Metrics that are given although too little is accepted at their rate
    unresolved: tuple[str, ...] = ()
    units: str = "identities"  # what the influences belong to
    # Made on demand: it may take seconds.
    find_verification: Callable[[], Verification] | None = None
    searches: tuple[Identification, ...] = field(default=())


def as_measured(found: "Measured | dict[str, float]") -> Measured:
    """Returns what a protocol finds; one that has nothing but numbers gives just those."""
    return found if isinstance(found, Measured) else Measured(found)


def is_resolvable(rate: float, wrong: float) -> bool:
    """Tells whether enough wrong ones pass at this rate for the threshold to be no chance.

    Wrong ones are impostor pairs, or queries of unseen identities.
    """
    return rate * wrong >= LEAST_ACCEPTED


def unresolved_notes(
    name: str, rates: Sequence[float], wrong: float, what_is_done: str
) -> list[str]:
    """Returns a sentence that names the rates that the data are too few for.

    Returns an empty list where there is no such rate.

    Args:
        name: The metric, such as TAR@FAR.
        rates: The rates that are wanted.
        wrong: How many impostor pairs there are.
        what_is_done: What is done about the rates named, such as `not measured`.
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
