"""A benchmark's findings as rows of text, for the page, for Markdown and for the terminal."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bct_keras.benchmark import ranking_tables
from bct_keras.benchmark.gaps import faults
from bct_keras.benchmark.ranking import count_verdicts, counted
from bct_keras.benchmark.texts import Rows, Section, number, verdicts, with_spread
from bct_keras.benchmark.tuning_tables import tuning

CELL = (
    "Mean and spread (the standard deviation over seeds). "
    "Gain is cross-test less old encoder, tax what the self-test has lost against the network "
    "without constraint, cost the time of a step against that network's. "
    "Verdicts are those on each seed; above old counts the metrics whose cross-test is above the "
    "old encoder's, seeds added up."
)
DIFFERENCES = (
    "Cross-test of the row less that of the column, mean over the seeds that both have; * where "
    "the 95 % interval of that mean, Student's t, leaves 0 out. "
    "Without it the order of the two is undecided: over two or three seeds only a difference far "
    "above their spread is decided."
)


@dataclass(frozen=True)
class Overview:
    """A quantity that one table shows of all scenarios and old encoders."""

    quantity: str
    heading: str
    form: str  # of its numbers
    text: str


@dataclass(frozen=True)
class Place:
    """A scenario with an old encoder: where methods are compared."""

    scenario: str
    old: str

    @property
    def title(self) -> str:
        """The place's name in headings."""
        return f"{self.scenario}, old encoder {self.old}"

    def of(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Returns those rows of the report that are of this place."""
        found = []
        for row in rows:
            if place_of(row) == self:
                found.append(row)
        return found


def place_of(row: dict[str, Any]) -> Place:
    """Returns the place that a row of the report is of."""
    return Place(
        scenario=row["scenario"],
        old=row["old"],
    )


OVERVIEWS = (
    Overview("gain", "Gain", "+z.4f", "Cross-test less old encoder, mean and spread over seeds."),
    Overview("self", "Self-test", "z.4f", "Mean and spread over seeds."),
)


def sections(found: dict[str, Any]) -> Iterator[Section]:
    """Yields each part of the report, for the metric that was asked for."""
    metric = found["metric"]
    yield from ranking_tables.sections(found)
    compared = places(found)
    if len(compared) > 1:
        for each in OVERVIEWS:
            rows = overview(found, each.quantity, each.form)
            yield Section(f"{each.heading} by {metric}", each.text, rows)
    for place in compared:
        here = place.of(found["cells"])
        rows = cell(here, metric)
        yield Section(f"{place.title}: {metric}", CELL, rows)
        if len(here) > 1:
            rows = differences(found, place)
            yield Section(f"{place.title}: differences", DIFFERENCES, rows)
    if "tuning" in found:
        yield from tuning(found["tuning"])
    yield from faults(found)


def places(found: dict[str, Any]) -> list[Place]:
    """Returns all places, in the order of the report."""
    known = []
    for row in found["cells"]:
        place = place_of(row)
        if place not in known:
            known.append(place)
    return known


def overview(found: dict[str, Any], quantity: str, form: str) -> Rows:
    """Returns a row for each method, with a column for each place.

    Args:
        found: What report.json says.
        quantity: What is shown, such as gain.
        form: How its numbers are written.
    """
    metric = found["metric"]
    by_method: dict[str, dict[Place, str]] = {}
    for row in found["cells"]:
        value = row["metrics"][metric][quantity]
        of_method = by_method.setdefault(row["method"], {})
        of_method[place_of(row)] = with_spread(value, form)
    columns = places(found)
    head = ["method"]
    for place in columns:
        head.append(f"{place.scenario}, {place.old}")
    table = [head]
    for method, values in by_method.items():
        row = [method]
        for place in columns:
            row.append(values.get(place, "-"))
        table.append(row)
    return table


def cell(rows: list[dict[str, Any]], metric: str) -> Rows:
    """Returns a row for the old encoder and one for each method, at one place.

    Args:
        rows: What report.json says of the place.
        metric: The metric of the table.
    """
    names = "method, self-test, cross-test, gain, update gain, tax, negative flips, verdicts"
    head = [*names.split(", "), "above old", "cost"]
    old = rows[0]["metrics"][metric]["old"]
    table = [head, ["old encoder", with_spread(old), *["-"] * (len(head) - 2)]]
    for row in rows:
        values = row["metrics"][metric]
        above, asked = counted(row)
        table.append(
            [
                row["method"],
                with_spread(values["self"]),
                with_spread(values["cross"]),
                with_spread(values["gain"], "+z.4f"),
                with_spread(values["update_gain"], "z.2f"),
                with_spread(values["tax"], "+z.4f"),
                with_spread(row["flips"]["negative"], ".1%") if "flips" in row else "-",
                verdicts(count_verdicts(row["verdicts"])),
                f"{above} of {asked}",
                number(row["cost"]["mean"], "z.2f"),
            ]
        )
    return table


def differences(found: dict[str, Any], place: Place) -> Rows:
    """Returns by how much the method of each row is above that of each column, at one place.

    Args:
        found: What report.json says.
        place: A scenario with an old encoder.
    """
    known: dict[tuple[str, str], str] = {}
    methods = []
    for each in place.of(found["differences"]["cross"]):
        if each["metric"] != found["metric"]:
            continue
        method = each["method"]
        other = each["other"]
        for name in (method, other):
            if name not in methods:
                methods.append(name)
        mark = "*" if each["decided"] else ""
        known[method, other] = f"{each['mean']:+z.4f}{mark}"
        known[other, method] = f"{-each['mean']:+z.4f}{mark}"
    table = [["method", *methods]]
    for method in methods:
        row = [method]
        for other in methods:
            row.append(known.get((method, other), ""))
        table.append(row)
    return table
