"""Writes times, sizes and sums as a reader takes them in."""

UNKNOWN = "not known"
SIZES = ("B", "kB", "MB", "GB", "TB", "PB")


def duration(seconds: float | None) -> str:
    """Returns a time in the unit that suits it.

    Example:
        >>> duration(0.0021), duration(41), duration(900), duration(86_400 * 3), duration(None)
        ('2.1 ms', '41 s', '15 min', '3 days', 'not known')
    """
    if seconds is None:
        return UNKNOWN
    if seconds < 1:
        return f"{figures(1000 * seconds)} ms"
    if seconds < 120:
        return f"{figures(seconds)} s"
    if seconds < 7200:
        return f"{figures(seconds / 60)} min"
    if seconds < 2 * 86_400:
        return f"{figures(seconds / 3600)} h"
    return f"{figures(seconds / 86_400)} days"


def size(count: float) -> str:
    """Returns a number of bytes.

    Example:
        >>> size(0), size(12_800_000_000)
        ('0 B', '13 GB')
    """
    steps = 0
    while count >= 1000 and steps < len(SIZES) - 1:
        count /= 1000
        steps += 1
    return f"{figures(count)} {SIZES[steps]}"


def money(amount: float | None) -> str:
    """Returns a sum of money, in whatever the hour's price is."""
    return "-" if amount is None else f"{amount:,.2f}"


def figures(value: float) -> str:
    """Returns a number in two figures, or all of those before the point.

    Example:
        >>> figures(0.0512), figures(1.26), figures(12.6), figures(1234.5)
        ('0.051', '1.3', '13', '1,234')
    """
    if value >= 10:
        return f"{value:,.0f}"
    return f"{value:.2g}"
