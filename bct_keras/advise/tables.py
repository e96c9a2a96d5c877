"""Makes the tables of an advice, and all of it as text for the terminal."""

from collections.abc import Iterator
from typing import Any

from bct_keras.advise import units
from bct_keras.advise.candidates import BACKFILL, KEEP
from bct_keras.evaluate.report import aligned
from bct_keras.evaluate.report_routes import interval
from bct_keras.pages.document import Table

Rows = list[list[str]]


def line(report: dict[str, Any]) -> str:
    """Returns the decision in one line."""
    decision = report["decision"]
    return f"{decision['action']}: {decision['because']}"


def gains(report: dict[str, Any]) -> Rows:
    """Returns a row for each route: what it gains."""
    metrics = list(next(iter(report["routes"].values()))["deciding"])
    rows = [["route", "mean gain", "verdict", "95 % interval", *metrics, "tax"]]
    for name, route in report["routes"].items():
        each = [f"{route['deciding'][metric]:+.4f}" for metric in metrics]
        rows.append(
            [
                name,
                f"{route['gain']['value']:+.4f}",
                verdict_of(route),
                "-" if route["kind"] == KEEP else interval(route["gain"]["interval"]),
                *each,
                tax_of(route),
            ]
        )
    return rows


def verdict_of(route: dict[str, Any]) -> str:
    """Returns the word on a route, and of the bounds what they are."""
    if route["kind"] == KEEP:
        return "as today"
    if route["kind"] == BACKFILL:
        return "upper bound"
    return route["verdict"] or "-"


def tax_of(route: dict[str, Any]) -> str:
    """Returns what a route's encoder has lost in a gallery of its own."""
    if route["kind"] == KEEP:
        return "-"
    if not route["tax"]["value"]:
        return "none"
    return f"{route['tax']['value']:+.4f}"


def costs(report: dict[str, Any]) -> Rows:
    """Returns a row for each route: what it costs."""
    with_money = any(
        route["costs"]["money_once"] is not None for route in report["routes"].values()
    )
    heading = ["route", "a query", "queries a day", "gallery", "storage"]
    heading += ["money once", "money a day"] if with_money else []
    rows = [[*heading, "fit"]]
    for name, route in report["routes"].items():
        found = route["costs"]
        row = [
            name,
            units.duration(found["query_seconds"]),
            hours(found["hours_a_day"]),
            hours_on_gallery(found),
            units.size(found["extra_bytes"]),
        ]
        if with_money:
            row += [units.money(found["money_once"]), units.money(found["money_a_day"])]
        fit = found["fit_seconds"]
        rows.append([*row, "-" if fit is None else units.duration(fit)])
    return rows


def given_up(report: dict[str, Any]) -> Rows:
    """Returns a row for each route: what it asks for."""
    rows = [["route", "for a query", "entries", "images"]]
    for name, route in report["routes"].items():
        found = route["given_up"]
        rows.append([name, found["networks"], found["entries"], found["images"]])
    return rows


def hours_on_gallery(costs: dict[str, Any]) -> str:
    """Returns how long the work on the gallery takes, and by how many machines where by several."""
    text = hours(costs["gallery_hours"])
    machines = costs.get("gallery_machines", 1)  # a report of an earlier version has none
    if machines == 1 or not costs["gallery_hours"]:
        return text
    return f"{text} on {machines:,} machines"


def hours(count: float | None) -> str:
    """Returns hours as text; `none` where there is nothing to do."""
    if count == 0:
        return "none"
    return units.duration(None if count is None else 3600 * count)


def metrics(report: dict[str, Any]) -> Iterator[Table]:
    """Yields a table of every metric for each protocol, with a column for each route."""
    for spec in report["protocols"]:
        names = list(report["routes"])
        rows = [["metric", *names]]
        first = report["routes"][names[0]]["tests"][spec]["metrics"]
        for metric in first:
            row = [metric]
            for route in report["routes"].values():
                test = route["tests"][spec]
                word = "" if route["kind"] == KEEP else f" {test['word'][metric]}"
                row.append(f"{test['metrics'][metric]:.4f}{word}")
            rows.append(row)
        yield Table(spec, rows)


def why_not(report: dict[str, Any]) -> dict[str, str]:
    """Returns of each route that is not taken why."""
    found = {}
    for name, route in report["routes"].items():
        if route["why_not"]:
            found[name] = route["why_not"]
    return found


def commands(report: dict[str, Any]) -> list[str]:
    """Returns the commands of the steps that have one, in their order."""
    return [" ".join(step["command"]) for step in report["decision"]["next"] if step["command"]]


def as_text(report: dict[str, Any]) -> str:
    """Returns the advice for the terminal; the decision is its first line."""
    decision = report["decision"]
    lines = [line(report)]
    lines += [f"  {sentence}" for sentence in decision["unsure"]]
    for step in decision["next"]:
        lines.append(f"to do: {step['text']}")
    lines += aligned(gains(report))
    lines += aligned(costs(report))
    lines += aligned(given_up(report))
    lines.append("why not the others:")
    lines += [f"  {name}: {reason}" for name, reason in why_not(report).items()]
    lines += [f"  {note}" for note in report["notes"]]
    return "\n".join(lines)
