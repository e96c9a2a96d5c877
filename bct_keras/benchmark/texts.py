"""Numbers and verdicts of a benchmark as the texts of its tables."""

from dataclasses import dataclass
from typing import Any

Rows = list[list[str]]


@dataclass(frozen=True)
class Section:
    """A part of the report: a table, and what it says."""

    heading: str
    text: str
    rows: Rows


def verdicts(found: dict[str, int]) -> str:
    """Returns how many trainings got each verdict, those that none got left out."""
    parts = []
    for word, count in found.items():
        if count:
            parts.append(f"{count} {word}")
    return ", ".join(parts)


def with_spread(value: dict[str, Any], form: str = "z.4f") -> str:
    """Returns a mean over seeds with its spread; without one where there is one seed.

    Args:
        value: What `spreads.spread` returns.
        form: How the mean is written.
    """
    if value["mean"] is None:
        return "-"
    mean = format(value["mean"], form)
    if value["spread"] is None:
        return mean
    without_sign = form.lstrip("+")
    deviation = format(value["spread"], without_sign)
    return f"{mean} ± {deviation}"


def number(value: float | None, form: str) -> str:
    """Returns a number as text, `-` for none."""
    if value is None:
        return "-"
    return format(value, form)
