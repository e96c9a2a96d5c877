"""Keeps what a benchmark measured as a small table, and sets the tables of its page from that.

python configs/measured.py --folder=configs/omniglot --report=benchmarks/omniglot/report
python configs/measured.py --folder=configs/omniglot

The first takes the numbers of a report into measured.csv, a line for each training; those of other
seeds stay, so that a benchmark may be run seed by seed, on several machines. Both then write the
tables of README.md, between its two marks, and measured.png.
"""

import argparse
import csv
import os
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bct_keras.benchmark import ranking_tables, report, spreads, tables
from bct_keras.benchmark.ranking import ranking
from bct_keras.benchmark.texts import Rows, with_spread
from bct_keras.errors import InputError
from bct_keras.pages import plots
from bct_keras.untrusted.json_files import field, read_object

METRIC = "TAR@FAR=1e-3"
REFERENCE = "independent"
TESTS = ("old/old", "new/old", "new/new")
PLACE = ("scenario", "old", "method", "seed")
BEGIN = "<!-- made by configs/measured.py: -->"
END = "<!-- : until here -->"
COLUMNS_OF_PICTURE = 4


def lines_of_report(folder: Path) -> list[dict[str, str]]:
    """Returns a line for each training of a report.

    Args:
        folder: The report of a benchmark.
    """
    path = folder / "report.json"
    cells = field(read_object(path), "cells", list, path)
    try:
        return lines_of_cells(cells)
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path} is no report of a benchmark: {error!r}") from None


def lines_of_cells(cells: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Returns a line for each seed of each cell."""
    lines = []
    for cell in cells:
        for number, seed in enumerate(cell["seeds"]):
            place = (cell["scenario"], cell["old"], cell["method"], str(seed))
            line: dict[str, str] = dict(zip(PLACE, place, strict=True))
            line["verdict"] = cell["verdicts"][number]
            line["seconds a step"] = digits(cell["seconds_per_step"]["values"][number])
            for metric, spread in cell["metrics"].items():
                for test, quantity in zip(TESTS, ("old", "cross", "self"), strict=True):
                    line[f"{metric} {test}"] = digits(spread[quantity]["values"][number])
            for metric, area in cell["hot_refresh"].items():
                line[f"{metric} hot refresh"] = digits(area["values"][number])
            lines.append(line)
    return lines


def digits(value: float | None) -> str:
    """Returns a number as text, nothing for none."""
    return "" if value is None else f"{value:.5f}"


def merged(lines: list[dict[str, str]], more: list[dict[str, str]]) -> list[dict[str, str]]:
    """Returns the lines with others, which take the place of those of the same training.

    Args:
        lines: Those that are kept.
        more: Those that are taken in.
    """
    by_place = {}
    for line in [*lines, *more]:
        by_place[tuple(line[name] for name in PLACE)] = line
    return list(by_place.values())


def read(path: Path) -> list[dict[str, str]]:
    """Returns the lines of a measured.csv; none where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, lines: list[dict[str, str]]) -> None:
    """Writes a measured.csv."""
    names: dict[str, None] = {}
    for line in lines:
        names.update(dict.fromkeys(line))
    beside = path.with_name(f"{path.name}.partial-{os.getpid()}")
    with beside.open("w", newline="") as file:
        table = csv.DictWriter(file, list(names), restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(lines)
    beside.rename(path)


def results_of(lines: list[dict[str, str]]) -> spreads.Results:
    """Returns what each training comes to, as a benchmark measures it."""
    results: spreads.Results = {}
    for line in lines:
        place = (line["scenario"], line["old"], line["method"])
        found: dict[str, Any] = {test: {} for test in TESTS}
        found |= {"hot_refresh": {}, "above_old": {}, "verdict": line["verdict"]}
        found["seconds_per_step"] = float(line["seconds a step"] or 0)
        for name, text in line.items():
            metric, _, kind = name.partition(" ")
            if text and kind == "hot refresh":
                found["hot_refresh"][metric] = float(text)
            elif text and kind in TESTS:
                found[kind][metric] = float(text)
        for metric, value in found["new/old"].items():
            found["above_old"][metric] = value > found["old/old"][metric]
        results.setdefault(place, {})[int(line["seed"])] = found
    return results


def page_of(lines: list[dict[str, str]]) -> str:
    """Returns the tables of the page."""
    table = spreads.cells(results_of(lines), REFERENCE)
    ranked = ranking(table, METRIC)
    seeds = sorted({int(line["seed"]) for line in lines})
    told = ", ".join(str(seed) for seed in seeds)
    text = [f"{len(lines)} cells of {'seed' if len(seeds) == 1 else 'seeds'} {told}; {METRIC}."]
    text += [ranking_tables.not_told_apart(ranked)] if len(seeds) > 1 else []
    text += ["", *markdown(ranking_tables.rows(ranked))]
    text += ["", *markdown(ranking_tables.beside(ranked, METRIC))]
    olds = list(dict.fromkeys(line["old"] for line in lines))
    for old in olds:
        text += ["", f"Gain; self-test, {old} old encoder:", ""]
        text += markdown(gains(table, old, [row["method"] for row in ranked]))
    text += ["", "![Cross-test over self-test of every method, in each cell](measured.png)"]
    return "\n".join(text)


def gains(table: list[dict[str, Any]], old: str, methods: list[str]) -> Rows:
    """Returns a row for each method with its gain and self-test in each scenario.

    Args:
        table: What `spreads.cells` returns.
        old: The old encoder.
        methods: In the order of the rows.
    """
    of_old = [row for row in table if row["old"] == old]
    scenarios = list(dict.fromkeys(row["scenario"] for row in of_old))
    first = ["old/old"]
    for scenario in scenarios:
        here = [row for row in of_old if row["scenario"] == scenario]
        first.append(with_spread(here[0]["metrics"][METRIC]["old"], "z.3f"))
    rows = [["method", *scenarios], first]
    for method in methods:
        cells = dict.fromkeys(scenarios, "not measured")
        for row in of_old:
            if row["method"] == method:
                measured = row["metrics"][METRIC]
                gain = with_spread(measured["gain"], "+z.3f")
                cells[row["scenario"]] = f"{gain}; {measured['self']['mean']:.3f}"
        rows.append([method, *cells.values()])
    return rows


def markdown(rows: Rows) -> list[str]:
    """Returns a table's lines, with names of methods as code."""
    lines = []
    for number, row in enumerate(rows):
        name = f"`{row[0]}`" if number and row[0] != "old/old" else row[0]
        lines.append(f"| {' | '.join([name, *row[1:]])} |")
    lines.insert(1, f"|---{'|---:' * (len(rows[0]) - 1)}|")
    return lines


def set_page(page: Path, text: str) -> None:
    """Sets what stands between the two marks of a page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} needs the lines {BEGIN} and {END}, the table comes between them")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def draw(lines: list[dict[str, str]], path: Path) -> None:
    """Draws cross-test over self-test, a panel for each scenario and old encoder."""
    found = {"cells": spreads.cells(results_of(lines), REFERENCE)}
    places = tables.places(found)
    across = min(COLUMNS_OF_PICTURE, len(places))
    down = -(-len(places) // across)
    with mpl.rc_context(plots.printed_style()):
        figure = Figure(figsize=(3.6 * across + 1.6, 3.2 * down), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes, place in zip(panels, places, strict=False):
            report.trade(place.of(found["cells"]), METRIC)(axes)
            axes.set_title(place.title, fontsize=9)
            axes.get_legend().remove()
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside right center", fontsize=8)
        figure.savefig(path, dpi=90, facecolor="white")


def main() -> None:
    parser = argparse.ArgumentParser(description="Sets the tables of a page of a benchmark.")
    parser.add_argument("--folder", type=Path, required=True, help="with README.md")
    parser.add_argument("--report", type=Path, help="of a benchmark, whose numbers are taken in")
    given = parser.parse_args()
    kept = given.folder / "measured.csv"
    lines = read(kept)
    if given.report:
        try:
            more = lines_of_report(given.report)
        except InputError as error:
            raise SystemExit(f"error: {error}") from None
        lines = merged(lines, more)
        write(kept, lines)
    if not lines:
        raise SystemExit(f"{kept} is not there: give the --report of a benchmark")
    set_page(given.folder / "README.md", page_of(lines))
    draw(lines, given.folder / "measured.png")


if __name__ == "__main__":
    main()
