"""The folder that a benchmark leaves: report.html, .md and .json, plots, and a manifest."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from bct_keras import artefacts, printable
from bct_keras.benchmark import spreads, tables
from bct_keras.benchmark.cells import slug
from bct_keras.benchmark.ranking import ranking
from bct_keras.errors import InputError, option
from bct_keras.pages import document, plots
from bct_keras.pages.document import Plot

KIND = "benchmark"
COLOURS = (
    "#2f81f7",
    "#d29922",
    "#2da44e",
    "#cf222e",
    "#8250df",
    "#bf3989",
    "#1b7c83",
    "#8a8d91",
    "#9a6700",
    "#57606a",
)

MARKERS = "os^D"
LABEL_WIDTH = 24
NAMED = 3  # methods in the title, besides the first


def write(found: dict[str, Any], made_from: dict[str, Any], out: Path) -> None:
    """Writes the report in the place of what an earlier run has found.

    Args:
        found: What report.json says.
        made_from: What the report is made from.
        out: The folder.
    """
    artefacts.check_place(out, KIND)
    with artefacts.new_folder(out, replace=True) as folder:
        facts = json.dumps(found, indent=1)
        (folder / "report.json").write_text(facts + "\n")
        (folder / "report.md").write_text(as_markdown(found))
        figures = drawings(found, folder)
        (folder / "report.html").write_text(as_html(found, figures))
        artefacts.write_manifest(folder, KIND, made_from)


def as_html(found: dict[str, Any], figures: list[Plot]) -> str:
    """Returns the page."""
    return document.render(
        "benchmark",
        title=found["title"],
        setting=found["setting"],
        sections=list(tables.sections(found)),
        plots=figures,
        made_from=document.as_texts(found["made_from"]),
    )


def as_markdown(found: dict[str, Any]) -> str:
    """Returns all of a report as Markdown."""
    title = printable.markdown(found["title"])
    setting = printable.markdown(found["setting"])
    lines = [f"# {title}", "", setting]
    for section in tables.sections(found):
        heading = printable.markdown(section.heading)
        text = printable.markdown(section.text)
        lines += ["", f"## {heading}", "", text, ""]
        lines += markdown_table(section.rows)
    return "\n".join(lines) + "\n"


def markdown_table(rows: tables.Rows) -> list[str]:
    """Returns the lines of a table, whose names are shown and not obeyed."""
    lines = []
    for row in rows:
        cells = [printable.markdown(cell) for cell in row]
        lines.append(printable.table_row(cells))
    alignments = ["---:"] * len(rows[0])
    alignments[0] = "---"
    lines.insert(1, printable.table_row(alignments))
    return lines


def drawings(found: dict[str, Any], folder: Path) -> list[Plot]:
    """Draws a plot for each scenario and old encoder; writes each as a PNG too.

    Args:
        found: What report.json says.
        folder: Where the PNG files go.
    """
    metric = found["metric"]
    figures = []
    for number, place in enumerate(tables.places(found), 1):
        rows = place.of(found["cells"])
        draw = trade(rows, metric)
        file = f"{place.scenario}_{slug(place.old)}.png"
        plots.save_png(draw, folder / file)
        caption = f"{place.title}: {metric}, mean and spread over seeds"
        svg = plots.as_svg(draw, f"trade{number}")
        figures.append(Plot(caption, svg))
    return figures


def trade(rows: list[dict[str, Any]], metric: str) -> Callable[[Axes], None]:
    """Returns what draws self-test against cross-test: what a method gives up for what it gains.

    Args:
        rows: A row for each method.
        metric: By which metric.
    """

    def draw(axes: Axes) -> None:
        for number, row in enumerate(rows):
            own = row["metrics"][metric]["self"]
            cross = row["metrics"][metric]["cross"]
            rounds, colour = divmod(number, len(COLOURS))
            axes.errorbar(
                own["mean"],
                cross["mean"],
                xerr=own["spread"],
                yerr=cross["spread"],
                marker=MARKERS[rounds % len(MARKERS)],
                linestyle="",
                color=COLOURS[colour],
                label=short(row["method"]),
            )
        old = rows[0]["metrics"][metric]["old"]
        axes.axhline(
            old["mean"],
            color=plots.COLOURS["old/old"],
            linestyle="--",
            label="old encoder",
        )
        axes.set(xlabel="self-test, new/new", ylabel="cross-test, new/old")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)

    return draw


def short(name: str) -> str:
    """Returns a name so short that the legend leaves room for the plot."""
    return name if len(name) <= LABEL_WIDTH else f"{name[: LABEL_WIDTH - 1]}…"


def findings(
    results: spreads.Results,
    reference: str,
    metric: str,
    failed: dict[str, str],
    made_from: dict[str, Any],
    asked: bool = False,
    needs: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Returns what report.json says.

    Args:
        results: What each cell comes to.
        reference: The method without constraint.
        metric: That of the tables.
        failed: Why which cell is missing.
        made_from: What the report is made from.
        asked: Whether the metric is not the usual one, in whose place another may stand.
        needs: What each method needs, in words.
    """
    table = spreads.cells(results, reference)
    metrics = list(table[0]["metrics"]) if table else [metric]
    if asked and metric not in metrics:
        raise InputError(
            f"{option('metric', metric)} was not measured; there are: {', '.join(metrics)}"
        )
    shown = metric if metric in metrics else metrics[0]
    ranked = ranking(table, shown, needs)
    return {
        "title": headline(ranked, shown),
        "setting": setting(table),
        "metric": shown,
        "ranking": ranked,
        "cells": table,
        "differences": {
            quantity: spreads.differences(results, quantity) for quantity in ("cross", "self")
        },
        "failed": failed,
        "made_from": made_from,
    }


def headline(ranked: list[dict[str, Any]], metric: str) -> str:
    """Returns which method comes first, as the title.

    Args:
        ranked: The methods, best first.
        metric: By which they are ranked.
    """
    if not ranked:
        return "No cell could be measured"
    best = ranked[0]
    if best["unranked"]:
        return f"No method has a rank: {best['unranked']}"
    if best["score"]["mean"] <= 0:
        return f"No method is to be recommended: none is above the old encoder by {metric}"
    title = f"{best['method']} comes first of {len(ranked)} methods by {metric}"
    others = []
    for row in ranked[1:]:
        if not row["unranked"] and not row["behind_first"]:
            others.append(row["method"])
    if not others:
        return title
    named = ", ".join(others[:NAMED])
    if len(others) > NAMED:
        named += f" and {len(others) - NAMED} more"
    return f"{title}, undecided over {counted_seeds(best)} against {named}"


def counted_seeds(row: dict[str, Any]) -> str:
    """Returns how many seeds a method has, as text."""
    seeds = len(row["score"]["values"])
    if seeds == 1:
        return "one seed"
    return f"{seeds} seeds"


def setting(table: list[dict[str, Any]]) -> str:
    """Returns a sentence on what was compared."""
    scenarios = {row["scenario"] for row in table}
    olds = {row["old"] for row in table}
    methods = {row["method"] for row in table}
    seeds: set[int] = set()
    for row in table:
        seeds.update(row["seeds"])
    return (
        f"Scenarios: {len(scenarios)}; old encoders: {len(olds)}; "
        f"methods: {len(methods)}; seeds: {len(seeds)}. "
        "A seed sets the first weights of old and new encoder and the order of the images; "
        "data and division are the same."
    )
