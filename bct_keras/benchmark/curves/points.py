"""Points of the curves, from reports of benchmarks, and which methods change places."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bct_keras import artefacts
from bct_keras.benchmark import report
from bct_keras.errors import InputError
from bct_keras.metrics import student


@dataclass(frozen=True)
class Point:
    """What a method comes to at one number of classes, a value for each seed."""

    method: str
    old: str
    classes: int
    epochs: int
    gain: list[float]
    tax: list[float]


@dataclass(frozen=True)
class Swap:
    """Two methods of which one gains more at fewer classes, and the other at more of them."""

    old: str
    epochs: int
    first: str  # gains more at the fewest classes
    then: str  # gains more at the most
    decided: bool  # whether the seeds tell both apart from chance


def read_points(folder: Path, metric: str) -> list[Point]:
    """Returns the points of one report.

    Args:
        folder: The report of a benchmark of one scenario.
        metric: By which metric.
    """
    manifest = artefacts.read_manifest(folder, report.KIND)
    facts = manifest["made_from"]
    found = json.loads((folder / "report.json").read_text())
    scenarios = {cell["scenario"] for cell in found["cells"]}
    if len(scenarios) != 1 or "epochs" not in facts:
        raise InputError(
            f"{folder} has to be of one scenario, and of this version of benchmark: the same "
            "command writes it anew"
        )
    (scenario,) = scenarios
    points = []
    for cell in found["cells"]:
        if metric not in cell["metrics"]:
            raise InputError(f"{folder} has no {metric}: there are {', '.join(cell['metrics'])}")
        measured = cell["metrics"][metric]
        point = Point(
            method=cell["method"],
            old=cell["old"],
            classes=facts[f"classes, {scenario}"],
            epochs=facts["epochs"],
            gain=measured["gain"]["values"],
            tax=measured["tax"]["values"],
        )
        points.append(point)
    return points


def mean(values: Sequence[float]) -> float:
    """Returns the mean."""
    return sum(values) / len(values)


def curve(points: Iterable[Point], method: str, old: str, epochs: int) -> list[Point]:
    """Returns the points of one curve, the fewest classes first."""
    chosen = []
    for point in points:
        if (point.method, point.old, point.epochs) == (method, old, epochs):
            chosen.append(point)
    return sorted(chosen, key=lambda point: point.classes)


def names(points: Iterable[Point], field: str) -> list[Any]:
    """Returns the different values of a field, in the order in which they come."""
    return list(dict.fromkeys(getattr(point, field) for point in points))


def swaps(points: list[Point], ignored: str) -> list[Swap]:
    """Returns the pairs of methods that change places between the fewest and the most classes.

    Args:
        points: Of all curves.
        ignored: The method without constraint, whose place tells nothing.
    """
    found = []
    methods = [name for name in names(points, "method") if name != ignored]
    for old in names(points, "old"):
        for epochs in sorted(names(points, "epochs")):
            for number, one in enumerate(methods):
                for other in methods[number + 1 :]:
                    swap = swapped(
                        curve(points, one, old, epochs),
                        curve(points, other, old, epochs),
                    )
                    if swap:
                        found.append(swap)
    return found


def swapped(one: list[Point], other: list[Point]) -> Swap | None:
    """Returns whether two methods change places; None where they do not.

    Args:
        one: The curve of a method.
        other: That of another one, at the same numbers of classes.
    """
    if len(one) < 2 or len(other) < 2:
        return None
    at_few = differences(one[0], other[0])
    at_many = differences(one[-1], other[-1])
    if mean(at_few) * mean(at_many) >= 0:
        return None
    first, then = (one, other) if mean(at_few) > 0 else (other, one)
    return Swap(
        old=one[0].old,
        epochs=one[0].epochs,
        first=first[0].method,
        then=then[0].method,
        decided=student.decided(at_few) and student.decided(at_many),
    )


def differences(one: Point, other: Point) -> list[float]:
    """Returns by how much one method gains more than another, for each seed."""
    return [first - second for first, second in zip(one.gain, other.gain, strict=True)]
