"""Labels axes with plain numbers."""

from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, NullFormatter

NARROW = 30.0  # an axis from 1 to this has no two powers of ten apart enough
LEAST_DECIMAL = 0.01  # a smaller number is written by its power of ten


def plain_numbers(axis: Axis) -> None:
    """Labels a logarithmic axis with numbers such as 1e-2, at powers of ten.

    Within one power of ten it labels other numbers too. Matplotlib's own labels are formulas, which
    are shown as they are written (`text.parse_math`).
    """
    low, high = sorted(axis.get_view_interval())
    axis.set_major_formatter(FuncFormatter(plain_number))
    narrow = high / low < NARROW
    axis.set_minor_formatter(FuncFormatter(plain_number) if narrow else NullFormatter())


def plain_number(value: float, position: int | None = None) -> str:
    """Returns a number as 0.5, 0.01 or 2e-3 (`position` is matplotlib's).

    Example:
        >>> plain_number(0.5), plain_number(0.01), plain_number(0.002)
        ('0.5', '0.01', '2e-3')
    """
    if value >= LEAST_DECIMAL:
        return f"{value:g}"
    return f"{value:.0e}".replace("e-0", "e-")
