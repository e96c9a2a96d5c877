"""The settings of a method that tuning tries: as it is written first, others drawn from its ranges.

What is drawn is the same each time, and the first ones are so whatever the budget: a larger one
goes on from there.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bct_keras import specs
from bct_keras.errors import InputError
from bct_keras.methods import METHODS

Ranges = Mapping[str, tuple]


@dataclass(frozen=True)
class Settings:
    """The settings of one method."""

    tried: tuple[str, ...]  # specs, as --method takes them; the first is the one that was written
    possible: int  # how many there are


def ranges_of(spec: str) -> Ranges:
    """Returns the values that a method declares to be tuned in, by the name of the argument."""
    found = specs.parse(spec)
    entry = specs.entry_of(METHODS, found.name, spec)
    return getattr(entry, "tuned", {})


def settings_of(spec: str, budget: int) -> Settings:
    """Returns as many settings of a method as the budget allows, or all where there are fewer.

    Args:
        spec: The method as it was written; values of it that are in no range stay.
        budget: How many at most.
    """
    ranges = ranges_of(spec)
    written = arguments_of(spec)
    known = {}
    for name in ranges:
        if name not in written:
            raise InputError(f"'{spec}' declares that {name} is tuned, and has no such argument")
        known[name] = written[name]
    possible = 1
    for values in ranges.values():
        possible *= len(values)
    if not is_among(known, ranges):
        possible += 1
    tried = [spec]
    drawn = [known]
    for chosen in combinations(ranges, everything=possible <= budget):
        if len(tried) == min(budget, possible):
            break
        if chosen not in drawn:
            drawn.append(chosen)
            tried.append(with_values(spec, written, chosen))
    return Settings(tuple(tried), possible)


def arguments_of(spec: str) -> dict[str, Any]:
    """Returns the value of each argument of a method, written or not."""
    entry, written = specs.bind(METHODS, spec, ())
    values = {}
    for name, parameter in specs.parameters_of(entry, spec).items():
        values[name] = parameter.default
    return values | written


def is_among(chosen: Mapping[str, Any], ranges: Ranges) -> bool:
    """Tells whether all values are in their ranges."""
    return all(chosen[name] in values for name, values in ranges.items())


def combinations(ranges: Ranges, everything: bool) -> Iterator[dict[str, Any]]:
    """Yields all combinations in their order, or without an end such as fill the ranges evenly.

    Those without an end are the points of the additive recurrence of the generalised golden ratio,
    (1/2 + n / phi, 1/2 + n / phi^2, ...) modulo 1, which repeat combinations.

    Args:
        ranges: The values of each argument.
        everything: Whether all are wanted.
    """
    names = list(ranges)
    if everything:
        for values in itertools.product(*ranges.values()):
            yield dict(zip(names, values, strict=True))
        return
    steps = golden_ratio(len(names)) ** -np.arange(1.0, len(names) + 1)
    for number in itertools.count(1):
        point = (0.5 + number * steps) % 1.0
        chosen = {}
        for name, place in zip(names, point.tolist(), strict=True):
            values = ranges[name]
            chosen[name] = values[int(place * len(values))]
        yield chosen


def golden_ratio(dims: int) -> float:
    """Returns the root above 1 of x^(dims + 1) = x + 1.

    Example:
        >>> round(golden_ratio(1), 4)
        1.618
    """
    found = 1.5
    for _ in range(64):  # each brings it nearer by half or more
        found = (1.0 + found) ** (1.0 / (dims + 1))
    return found


def with_values(spec: str, written: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
    """Returns the method with other values of some arguments.

    Args:
        spec: The method as it was written.
        written: The value of each of its arguments.
        chosen: The other values.

    Example:
        >>> with_values("l2(3)", {"weight": 3.0, "slack": 0.0}, {"slack": 0.2})
        'l2(weight=3, slack=0.2)'
    """
    found = specs.parse(spec)
    texts = {}
    for name, text in zip(written, found.positional, strict=False):
        texts[name] = text
    texts |= found.keywords
    for name, value in chosen.items():
        texts[name] = text_of(value)
    arguments = ", ".join(f"{name}={text}" for name, text in texts.items())
    return f"{found.name}({arguments})"


def text_of(value: Any) -> str:
    """Returns how a value is written in a spec."""
    if isinstance(value, str):
        return specs.quoted(value)
    if isinstance(value, float):
        return format(value, "g")
    return repr(value)
