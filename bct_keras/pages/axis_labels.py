"""Labels axes with plain numbers, and curves beside the plot."""

import itertools
import math
from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

NARROW = 30.0  # an axis from 1 to this has no two powers of ten apart enough
LEAST_DECIMAL = 0.001  # a smaller number is written by its power of ten
LEAST_GAP = 0.1  # between two labels, as a share of the axis: nearer ones would overprint
# The digits that are labelled in each power of ten, the more the better.
DIGITS = ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3))


def plain_numbers(axis: Axis) -> None:
    """Labels a logarithmic axis with numbers such as 0.01, at powers of ten.

    Within one power of ten it labels other numbers too. Matplotlib's own labels are formulas, which
    are shown as they are written (`text.parse_math`).
    """
    low, high = sorted(axis.get_view_interval())
    if high / low < NARROW:
        axis.set_major_locator(FixedLocator(places_of_labels(low, high)))
    axis.set_major_formatter(FuncFormatter(plain_number))
    axis.set_minor_formatter(NullFormatter())


def places_of_labels(low: float, high: float) -> list[float]:
    """Returns as many round numbers as stand apart enough on a logarithmic axis.

    Example:
        >>> places_of_labels(0.0022, 0.0167)
        [0.003, 0.005, 0.007, 0.01]
    """
    least = LEAST_GAP * math.log(high / low)
    for digits in DIGITS:
        places = list(round_numbers(low, high, digits))
        pairs = itertools.pairwise(places)
        if len(places) > 1 and all(math.log(after / place) >= least for place, after in pairs):
            return places
    inside = MaxNLocator(4).tick_values(low, high)
    return [float(place) for place in inside if low <= place <= high]


def round_numbers(low: float, high: float, digits: tuple[int, ...]) -> Iterator[float]:
    """Yields the numbers from low to high that are one of the digits, times a power of ten."""
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for digit in digits:
            number = float(f"{digit}e{power}")
            if low <= number <= high:
                yield number


def plain_number(value: float, position: int | None = None) -> str:
    """Returns a number as 0.5, 0.01 or 2e-4 (`position` is matplotlib's).

    Example:
        >>> plain_number(0.5), plain_number(0.002), plain_number(0.0002)
        ('0.5', '0.002', '2e-4')
    """
    if value >= LEAST_DECIMAL:
        return f"{value:g}"
    return f"{value:.0e}".replace("e-0", "e-")


def legend_above(axes: Axes) -> None:
    """Names the curves above the plot, where none of them runs through the names."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        borderaxespad=0,
        handlelength=1.5,
        columnspacing=1.5,
    )
