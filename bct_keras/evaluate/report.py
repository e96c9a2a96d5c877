"""The report's tables, and all of it for the terminal."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bct_keras.evaluate.compatibility import INDEPENDENT, NEW_OLD, OLD_OLD, TESTS
from bct_keras.pages.document import Table

Rows = list[list[str]]


@dataclass(frozen=True)
class Column:
    """A column of the table of metrics."""

    heading: str
    cell: Callable[[str], str]  # what it says of a metric


def table(result: dict[str, Any]) -> Rows:
    """Returns a heading, and one row a metric."""
    columns = list(columns_of(result))
    metrics = result[tests_of(result)[0]]
    rows = [["metric", *(column.heading for column in columns)]]
    for metric in metrics:
        rows.append([metric, *(column.cell(metric) for column in columns)])
    return rows


def tests_of(result: dict[str, Any]) -> list[str]:
    """Returns the tests that were made, in the order of the table."""
    return [test for test in (*TESTS, INDEPENDENT) if test in result]


def columns_of(result: dict[str, Any]) -> Iterator[Column]:
    """Yields the columns that a result has something for."""
    for test in tests_of(result):
        yield Column(test, lambda metric, test=test: f"{result[test][metric]:.4f}")
    if "gain" in result:
        yield Column("gain", lambda metric: f"{result['gain'][metric]:+.4f}")
    if "interval" in result:
        yield Column("95 % interval", lambda metric: interval(result["interval"][metric]))
    if "word" in result:
        yield Column("word", lambda metric: result["word"][metric])
    if "gain" in result:
        yield Column("above old", lambda metric: "yes" if result["above_old"][metric] else "NO")
    if "update_gain" in result:
        yield Column("update gain", lambda metric: optional(result["update_gain"][metric]))
        yield Column("tax", lambda metric: f"{result['tax'][metric]:+.4f}")


def matrix(result: dict[str, Any], metric: str) -> Rows:
    """Returns a row for each encoder's queries, with a column for each one's gallery."""
    names, words = result["encoders"], result["upgrades"]["word"][metric]
    galleries = [f"in {place}'s gallery" for place in range(1, len(names) + 1)]
    rows = [["queries of", *galleries]]
    for newer, values in enumerate(result["matrix"][metric]):
        cells = ["" if value is None else f"{value:.4f}" for value in values]
        for older, word in enumerate(words[newer]):
            cells[older] += f" {word}" if word else ""
        missing = [""] * (len(names) - len(cells))
        rows.append([f"{newer + 1} {names[newer]}", *cells, *missing])
    return rows


def deciding_tables(result: dict[str, Any]) -> Iterator[Table]:
    """Yields the tables that the verdict goes by."""
    if "matrix" not in result:
        yield Table("", table(result))
        return
    rows = [["metric", "average compatibility"]]
    for metric, share in result["average_compatibility"].items():
        rows.append([metric, f"{share:.4f}"])
    yield Table("", rows)
    for metric in result["matrix"]:
        yield Table(metric, matrix(result, metric))


def interval(ends: list[float]) -> str:
    """Returns both ends of an interval as text."""
    return f"{ends[0]:+.4f} to {ends[1]:+.4f}"


def optional(value: float | None) -> str:
    """Returns a number as text, `-` for none."""
    return "-" if value is None else f"{value:.2f}"


def other_tables(result: dict[str, Any]) -> Iterator[Table]:
    """Yields what the page has below the first tables."""
    if "thresholds" in result:
        heading = "Thresholds: a match is a cosine above this one, at that share of false accepts"
        yield Table(heading, threshold_rows(result["thresholds"]))
    if "baselines" in result:
        heading = (
            "Without training: an orthogonal Procrustes map, fitted on the gallery's images by "
            "both encoders"
        )
        yield Table(heading, baseline_rows(result))
    if "hot_refresh" in result:
        heading = "Hot refresh: the mean over 0 to 100 % of the gallery re-embedded"
        yield Table(heading, refresh_rows(result))
    if "order" in result:
        rows = [["a new query has its", "share of triplets"]]
        rows += [[name, f"{share:.4f}"] for name, share in result["order"].items()]
        yield Table("Order constraints", rows)


def threshold_rows(found: dict[str, dict[str, float]]) -> Rows:
    """Returns the cosine at each rate; `found` has them for each test."""
    rows = [["cosine at", *found]]
    for name in next(iter(found.values())):
        cosines = [f"{each[name]:.4f}" for each in found.values()]
        rows.append([name.removeprefix("TAR@"), *cosines])
    return rows


def baseline_rows(result: dict[str, Any]) -> Rows:
    """Returns what a map without training comes to, beside the tests."""
    found = result["baselines"]
    rows = [["metric", OLD_OLD, NEW_OLD, f"{found['encoder']} mapped into old"]]
    for metric, value in found["procrustes"].items():
        old, cross = result[OLD_OLD][metric], result[NEW_OLD][metric]
        rows.append([metric, f"{old:.4f}", f"{cross:.4f}", f"{value:.4f}"])
    return rows


def refresh_rows(result: dict[str, Any]) -> Rows:
    """Returns the area under each metric's curve."""
    rows = [["metric", "area under the curve"]]
    for metric, area in result["hot_refresh"]["area"].items():
        rows.append([metric, f"{area:.4f}"])
    merged = result.get("baselines", {}).get("rank_merging")
    if merged:
        rows.append(["top-1, two searches with their ranks merged", f"{merged['area']:.4f}"])
    return rows


def aligned(rows: Rows) -> Iterator[str]:
    """Yields the rows as lines for the terminal."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join(["", first.ljust(widths[0]), *cells])


def as_text(report: dict[str, Any]) -> str:
    """Returns all of a report for the terminal."""
    lines = []
    for name, result in report["protocols"].items():
        lines.append(name)
        for each in deciding_tables(result):
            if each.heading:
                lines.append(f"  {each.heading}")
            lines += aligned(each.rows)
        if "flips" in result:
            negative, positive = result["flips"]["negative"], result["flips"]["positive"]
            lines.append(f"  flips: {negative:.1%} negative, {positive:.1%} positive")
        lines += [f"  {note}" for note in result.get("notes", [])]
    lines += verdict_lines(report)
    return "\n".join(lines)


def verdict_lines(report: dict[str, Any]) -> list[str]:
    """Returns the verdict as text, or of several candidates a line for each."""
    if "candidates" not in report:
        return [f"verdict: {report['verdict']}: {report['because']}"] if report["verdict"] else []
    lines = []
    for name, each in report["candidates"].items():
        lines.append(f"verdict on {name}: {each['verdict']}: {each['because']}")
    return lines
