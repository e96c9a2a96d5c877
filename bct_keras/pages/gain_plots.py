"""Draws how much several routes gain, each with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

LONGEST_NAME = 28  # letters; a longer one would leave no room for the plot
COLOUR, TAKEN, UPPER_BOUND = "#8a8d91", "#2f81f7", "#2da44e"


@dataclass(frozen=True)
class GainBar:
    """Holds a gain that is to be drawn."""

    name: str
    value: float
    interval: tuple[float, float] | None
    colour: str = COLOUR


def draw(axes: Axes, bars: Sequence[GainBar]) -> None:
    """Draws a line for each gain, the first one at the top, and another one at 0."""
    for place, bar in enumerate(bars):
        if bar.interval:
            axes.plot(bar.interval, (place, place), color=bar.colour, linewidth=3)
        axes.plot(bar.value, place, color=bar.colour, marker="o")
    axes.axvline(0.0, color=COLOUR, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(bars)), [shortened(bar.name) for bar in bars])
    axes.set(ylim=(len(bars) - 0.5, -0.5), xlabel="mean gain over old/old")


def shortened(name: str) -> str:
    """Returns a name without its middle, where it is long.

    Example:
        >>> shortened("trained: somewhere/far/away/runs/mixbct")
        'trained: so...ay/runs/mixbct'
    """
    if len(name) <= LONGEST_NAME:
        return name
    start = (LONGEST_NAME - 3) // 2 - 1
    end = LONGEST_NAME - 3 - start
    return f"{name[:start]}...{name[-end:]}"
