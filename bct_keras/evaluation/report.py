"""The report's tables, and all of it for the terminal."""

from collections.abc import Iterator
from typing import Any

from bct_keras.evaluation.compatibility import TESTS


def table(result: dict[str, Any]) -> list[list[str]]:
    """Rows of text: a heading, one row a metric."""
    shown = [test for test in (*TESTS, "independent/independent") if test in result]
    columns: dict[str, Any] = {
        test: lambda metric, test=test: f"{result[test][metric]:.4f}" for test in shown
    }
    if "gain" in result:
        columns["gain"] = lambda metric: f"{result['gain'][metric]:+.4f}"
    if "interval" in result:
        columns["95 % interval"] = lambda metric: interval(result["interval"][metric])
    if "word" in result:
        columns["word"] = lambda metric: result["word"][metric]
    if "gain" in result:
        columns["above old"] = lambda metric: "yes" if result["above_old"][metric] else "NO"
    if "update_gain" in result:
        columns["update gain"] = lambda metric: optional(result["update_gain"][metric])
        columns["tax"] = lambda metric: f"{result['tax'][metric]:+.4f}"
    rows = [["metric", *columns]]
    return rows + [
        [metric, *(cell(metric) for cell in columns.values())] for metric in result[shown[0]]
    ]


def matrix(result: dict[str, Any], metric: str) -> list[list[str]]:
    """Rows of text: a row for each encoder's queries, a column for each one's gallery."""
    names, upgrades = result["encoders"], result["upgrades"]
    rows = [["queries of", *(f"in {place}'s gallery" for place in range(1, len(names) + 1))]]
    for newer, values in enumerate(result["matrix"][metric]):
        cells = ["" if value is None else f"{value:.4f}" for value in values]
        for older, word in enumerate(upgrades["word"][metric][newer]):
            cells[older] += f" {word}" if word else ""
        rows.append([f"{newer + 1} {names[newer]}", *cells, *[""] * (len(names) - len(cells))])
    return rows


def first_tables(result: dict[str, Any]) -> Iterator[tuple[str, list[list[str]]]]:
    """Headings and rows of what decides."""
    if "matrix" not in result:
        yield "", table(result)
        return
    rows = [["metric", "average compatibility"]]
    yield (
        "",
        rows
        + [[metric, f"{share:.4f}"] for metric, share in result["average_compatibility"].items()],
    )
    for metric in result["matrix"]:
        yield metric, matrix(result, metric)


def interval(ends: list[float]) -> str:
    return f"{ends[0]:+.4f} to {ends[1]:+.4f}"


def optional(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def more_tables(result: dict[str, Any]) -> Iterator[tuple[str, list[list[str]]]]:
    """What the page has below the first table."""
    if "thresholds" in result:
        found = result["thresholds"]
        rows = [["cosine at", *found]]
        for name in next(iter(found.values())):
            rows.append(
                [name.removeprefix("TAR@"), *(f"{each[name]:.4f}" for each in found.values())]
            )
        yield "Thresholds: a match is a cosine above this one, at that share of false accepts", rows
    if "baselines" in result:
        found = result["baselines"]
        rows = [["metric", "old/old", "new/old", f"{found['encoder']} mapped into old"]]
        for metric, value in found["procrustes"].items():
            rows.append(
                [metric, *(f"{result[test][metric]:.4f}" for test in TESTS[:2]), f"{value:.4f}"]
            )
        yield (
            "Without training: an orthogonal Procrustes map, fitted on the gallery's images by both encoders",
            rows,
        )
    if "hot_refresh" in result:
        rows = [["metric", "area under the curve"]]
        rows += [[metric, f"{area:.4f}"] for metric, area in result["hot_refresh"]["area"].items()]
        merged = result.get("baselines", {}).get("rank_merging")
        if merged:
            rows.append(["top-1, two searches with their ranks merged", f"{merged['area']:.4f}"])
        yield "Hot refresh: the mean over 0 to 100 % of the gallery re-embedded", rows
    if "order" in result:
        rows = [["a new query has its", "share of triplets"]]
        yield (
            "Order constraints",
            rows + [[name, f"{share:.4f}"] for name, share in result["order"].items()],
        )


def aligned(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join(["", first.ljust(widths[0]), *cells])


def as_text(report: dict[str, Any]) -> str:
    lines = []
    for name, result in report["protocols"].items():
        lines.append(name)
        for heading, rows in first_tables(result):
            lines += [f"  {heading}"] if heading else []
            lines += aligned(rows)
        if "flips" in result:
            lines.append(
                "  flips: {negative:.1%} negative, {positive:.1%} positive".format(
                    **result["flips"]
                )
            )
        lines += [f"  {note}" for note in result.get("notes", [])]
    lines += verdict_lines(report)
    return "\n".join(lines)


def verdict_lines(report: dict[str, Any]) -> list[str]:
    """Returns the verdict as text, or of several candidates a line for each."""
    if "candidates" in report:
        candidates = report["candidates"].items()
        return [
            f"verdict on {name}: {each['verdict']}: {each['because']}" for name, each in candidates
        ]
    return [f"verdict: {report['verdict']}: {report['because']}"] if report["verdict"] else []
