"""Makes the report's tables, and all of it as text for the terminal."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bct_keras.evaluate import report_routes
from bct_keras.evaluate.compatibility import INDEPENDENT, TESTS
from bct_keras.evaluate.findings import NEW_OLD, OLD_OLD
from bct_keras.pages.document import Table

Rows = list[list[str]]


@dataclass(frozen=True)
class Column:
    """Holds a column of the table of metrics."""

    heading: str
    cell: Callable[[str], str]  # what it says of a metric


def table(result: dict[str, Any]) -> Rows:
    """Returns a heading, and one row a metric."""
    columns = list(columns_of(result))
    first_test, *_ = tests_of(result)
    headings = [column.heading for column in columns]
    rows = [["metric", *headings]]
    for metric in result[first_test]:
        cells = [column.cell(metric) for column in columns]
        rows.append([metric, *cells])
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
        yield Column(
            "95 % interval", lambda metric: report_routes.interval(result["interval"][metric])
        )
    if "word" in result:
        yield Column("word", lambda metric: result["word"][metric])
    if "gain" in result:
        yield Column("above old", lambda metric: report_routes.above_old(result["gain"][metric]))
    if "update_gain" in result:
        yield Column("update gain", lambda metric: optional(result["update_gain"][metric]))
        yield Column("tax", lambda metric: f"{result['tax'][metric]:+.4f}")


def matrix(result: dict[str, Any], metric: str) -> Rows:
    """Returns a row for each encoder's queries, with a column for each one's gallery."""
    names = result["encoders"]
    words = result["upgrades"]["word"][metric]
    heading = ["queries of"]
    for place in range(1, len(names) + 1):
        heading.append(f"in {place}'s gallery")
    rows = [heading]
    for newer, values in enumerate(result["matrix"][metric]):
        cells = ["" if value is None else f"{value:.4f}" for value in values]
        for older, word in enumerate(words[newer]):
            cells[older] += f" {word}" if word else ""
        missing = [""] * (len(names) - len(cells))
        name = f"{newer + 1} {names[newer]}"
        rows.append([name, *cells, *missing])
    return rows


def deciding_tables(result: dict[str, Any]) -> Iterator[Table]:
    """Yields the tables that the verdict goes by."""
    if "matrix" not in result:
        yield Table("", table(result))
        yield from report_routes.details(result)
        return
    rows = [["metric", "average compatibility"]]
    for metric, share in result["average_compatibility"].items():
        rows.append([metric, f"{share:.4f}"])
    yield Table("", rows)
    for metric in result["matrix"]:
        yield Table(metric, matrix(result, metric))


def optional(value: float | None) -> str:
    """Returns a number as text, `-` for none."""
    return "-" if value is None else f"{value:.2f}"


def other_tables(result: dict[str, Any]) -> Iterator[Table]:
    """Yields what the page has below the first tables."""
    if "carried_over" in result:
        heading = "The thresholds of today, if nobody changes them on the day of the switch"
        yield Table(heading, report_routes.carried_over(result))
    if "thresholds" in result:
        heading = "Thresholds: a match is a cosine above this one, at that share of false accepts"
        yield Table(heading, threshold_rows(result["thresholds"]))
    if "equal_error" in result:
        rows = [["queries/gallery", "equal error rate", "at cosine"]]
        for test, found in result["equal_error"].items():
            rows.append([test, f"{found['rate']:.4f}", f"{found['threshold']:.4f}"])
        yield Table("Equal error rate: as many false accepts as false rejects", rows)
    for metric, of_tests in result.get("groups", {}).items():
        rate = metric.removeprefix("TAR@")
        heading = f"By group, at the threshold that gives all together {rate}"
        yield Table(heading, group_rows(of_tests))
    if "baselines" in result:
        heading = (
            "Without training: an orthogonal Procrustes map, fitted on the gallery's images by "
            "both encoders"
        )
        yield Table(heading, baseline_rows(result), baseline_note(result))
    if "hot_refresh" in result:
        heading = "Hot refresh: the mean over 0 to 100 % of the gallery re-embedded"
        yield Table(heading, refresh_rows(result), refresh_note(result))
    if "mixed" in result:
        yield from report_routes.mixed_tables(result["mixed"])
    if "order" in result:
        yield Table(
            "How often a new query is nearer to an image of its own identity than to another one",
            order_rows(result["order"]),
        )


def threshold_rows(found: dict[str, dict[str, float]]) -> Rows:
    """Returns the cosine at each rate; `found` has them for each test."""
    rows = [["cosine at", *found]]
    for name in next(iter(found.values())):
        cosines = [f"{each[name]:.4f}" for each in found.values()]
        rows.append([name.removeprefix("TAR@"), *cosines])
    return rows


def group_rows(of_tests: dict[str, dict[str, dict[str, Any]]]) -> Rows:
    """Returns a row for each group of each test."""
    rows = [
        [
            "group",
            "queries/gallery",
            "TAR",
            "95 % interval",
            "FMR",
            "identities",
            "genuine pairs",
            "impostor pairs",
            "enough to tell",
        ]
    ]
    for test, of_groups in of_tests.items():
        for name, facts in of_groups.items():
            low_high = facts["interval"]
            interval = f"{low_high[0]:.4f} to {low_high[1]:.4f}" if low_high else "-"
            rows.append(
                [
                    name,
                    test,
                    "-" if facts["tar"] is None else f"{facts['tar']:.4f}",
                    interval,
                    "-" if facts["fmr"] is None else f"{facts['fmr']:.1e}",
                    f"{facts['identities']:,}",
                    f"{facts['genuine_pairs']:,}",
                    f"{facts['impostor_pairs']:,}",
                    "too small" if facts["too_small"] else "yes",
                ]
            )
    return rows


def baseline_rows(result: dict[str, Any]) -> Rows:
    """Returns what a map without training comes to, beside the tests."""
    found = result["baselines"]
    mapped = f"{found['encoder']} mapped into old"
    rows = [["metric", OLD_OLD, NEW_OLD, mapped]]
    for metric, value in found["procrustes"].items():
        row = [metric]
        for number in (result[OLD_OLD][metric], result[NEW_OLD][metric], value):
            row.append(f"{number:.4f}")
        rows.append(row)
    return rows


def baseline_note(result: dict[str, Any]) -> str:
    """Returns what the map says of new/old, by the first metric."""
    metric, mapped = next(iter(result["baselines"]["procrustes"].items()))
    if mapped <= result[NEW_OLD][metric]:
        return f"By {metric} new/old is not below this map: a rotation alone would gain nothing."
    return (
        f"This map, which needs no training, is above new/old by {metric}. It is flattered, for it "
        "was fitted on images of the very identities of this test; but see whether a map that "
        "bct adapt fits on other identities does as well, with --kind=procrustes too, or train "
        "longer."
    )


def order_rows(order: dict[str, float]) -> Rows:
    """Returns the share of all pairs of images, of a query's own and another's, by encoders."""
    rows = [["a new query has its", "share"]]
    for name, share in order.items():
        told = name.replace("own ", "own image by ").replace("another's ", "another's by ")
        rows.append([told, f"{share:.4f}"])
    return rows


def refresh_note(result: dict[str, Any]) -> str:
    """Returns what merged searches are, where the table has them."""
    if not result.get("baselines", {}).get("rank_merging"):
        return ""
    return (
        "Two merged searches need no training: the old encoder searches the entries that are still "
        "old, and the new one those that are re-embedded. The first hits of both come first."
    )


def refresh_rows(result: dict[str, Any]) -> Rows:
    """Returns the area under each metric's curve."""
    rows = [["metric", "area under the curve"]]
    for metric, area in result["hot_refresh"]["area"].items():
        rows.append([metric, f"{area:.4f}"])
    merged = result.get("baselines", {}).get("rank_merging")
    if merged:
        rows.append(["top-1 of two merged searches", f"{merged['area']:.4f}"])
    return rows


def aligned(rows: Rows) -> Iterator[str]:
    """Yields the rows as lines for the terminal.

    The first column stands at the left, and the others at the right of theirs.
    """
    widths = []
    for column in zip(*rows, strict=True):
        widths.append(max(len(cell) for cell in column))
    first_width, *other_widths = widths
    for first, *others in rows:
        line = ["", first.ljust(first_width)]
        for cell, width in zip(others, other_widths, strict=True):
            line.append(cell.rjust(width))
        yield "  ".join(line)


def as_text(report: dict[str, Any]) -> str:
    """Returns all of a report for the terminal."""
    lines = []
    for each in report_routes.overviews(report):
        lines.append(each.heading)
        lines += aligned(each.rows)
    for name, result in report["protocols"].items():
        lines.append(name)
        for each in deciding_tables(result):
            if each.heading:
                lines.append(f"  {each.heading}")
            lines += aligned(each.rows)
        if "flips" in result:
            negative = result["flips"]["negative"]
            positive = result["flips"]["positive"]
            lines.append(f"  flips: {negative:.1%} negative, {positive:.1%} positive")
        lines += [f"  {note}" for note in result.get("notes", [])]
    lines += verdict_lines(report)
    return "\n".join(lines)


def verdict_lines(report: dict[str, Any]) -> list[str]:
    """Returns the verdict as text, or of several candidates a line for each."""
    if "candidates" not in report:
        lines = report_routes.verdict_lines(report)
        if report["verdict"]:
            on = f" on {NEW_OLD}" if "routes" in report else ""
            lines.insert(0, f"verdict{on}: {report_routes.sentence(report)}")
        return lines
    lines = []
    for name, each in report["candidates"].items():
        lines.append(f"verdict on {name}: {report_routes.sentence(each)}")
    return lines
