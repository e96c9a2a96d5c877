"""Computes what a mean over a few seeds can say, by Student's t distribution."""

import math
import statistics
from collections.abc import Sequence
from functools import cache

CONFIDENCE = 0.95


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Returns mean ± t s / √n, the 95 % interval of the mean of a normal distribution.

    Returns None where it cannot be known. One value has no spread; values that are all the same
    tell how coarse the metric is, not how sure the mean.
    """
    if len(values) < 2 or len(set(values)) == 1:
        return None
    mean = statistics.fmean(values)
    half = critical(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def decided(values: Sequence[float]) -> bool:
    """Tells whether the interval leaves 0 out, so that the sign of the mean is known."""
    ends = interval(values)
    return ends is not None and not ends[0] <= 0 <= ends[1]


@cache
def critical(freedom: int) -> float:
    """Returns the t between whose two signs 95 % of the distribution lie.

    12.71, 4.30, 3.18, ... for 1, 2, 3, ... degrees of freedom.
    """
    low, high = 0.0, 16.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        if within(middle, freedom) < CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def within(t: float, freedom: int) -> float:
    """Returns P(|T| <= t).

    Abramowitz and Stegun, 26.7.3 for an odd number of degrees of freedom and 26.7.4 for an even
    one.
    """
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    # Odd: cos + 2/3 cos^3 + (2 4)/(3 5) cos^5 + ...; even: 1 + 1/2 cos^2 + (1 3)/(2 4) cos^4 + ...
    # Each up to cos^(freedom - 2).
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for power in range(2 + odd, freedom - 1, 2):
        term *= (power - 1) / power * cosine**2
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
