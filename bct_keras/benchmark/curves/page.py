"""The folder of the curves: a plot for each old encoder, and the same as tables."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bct_keras import artefacts
from bct_keras.benchmark import report
from bct_keras.benchmark.cells import slug
from bct_keras.benchmark.curves.points import Point, Swap, curve, mean, names, read_points, swaps
from bct_keras.pages import plots

KIND = "benchmark curves"
QUANTITIES = {"gain": "gain, new/old less old/old", "tax": "tax, self-test lost"}
LINES = ("-", "--", ":", "-.")  # of the schedules, the shortest first
SIZE = (9.6, 3.8)  # of a figure, in inches


def figure_of(points: list[Point], old: str, metric: str, ignored: str) -> Figure:
    """Draws gain and tax over the classes, for one old encoder.

    Args:
        points: Of all curves.
        old: The old encoder.
        metric: By which metric.
        ignored: The method without constraint, from which the others are measured.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    panels = figure.subplots(1, 2)
    methods = [name for name in names(points, "method") if name != ignored]
    schedules = sorted(names(points, "epochs"))
    for axes, (quantity, label) in zip(panels, QUANTITIES.items(), strict=True):
        for number, method in enumerate(methods):
            for schedule, epochs in enumerate(schedules):
                draw_curve(
                    axes,
                    curve(points, method, old, epochs),
                    quantity,
                    color=report.COLOURS[number % len(report.COLOURS)],
                    linestyle=LINES[schedule % len(LINES)],
                    label=f"{report.short(method)}, {epochs} epochs",
                )
        axes.axhline(0, color="#8a8d91", linewidth=1)
        axes.set(xscale="log", xlabel="classes", ylabel=f"{label}, {metric}")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)
    return figure


def draw_curve(axes: Axes, points: list[Point], quantity: str, **style: Any) -> None:
    """Draws the mean over the seeds, and the least and the most as a bar."""
    if not points:
        return
    centres = []
    below = []
    above = []
    for point in points:
        values = getattr(point, quantity)
        centre = mean(values)
        centres.append(centre)
        below.append(centre - min(values))
        above.append(max(values) - centre)
    classes = [point.classes for point in points]
    axes.errorbar(classes, centres, yerr=(below, above), marker="o", markersize=3, **style)


def as_markdown(points: list[Point], found: list[Swap], metric: str) -> str:
    """Returns the tables, and what changes places."""
    lines = [f"# Gain and tax over the number of classes, {metric}", ""]
    lines += ["Mean over the seeds, and their range. A tax below 0 is a self-test above that of"]
    lines += ["the network without constraint.", ""]
    for old in names(points, "old"):
        for epochs in sorted(names(points, "epochs")):
            lines += table(points, old, epochs)
    lines += ["## What changes places, by gain", ""]
    if not found:
        lines += ["Nothing, between the fewest classes and the most."]
    for swap in found:
        sure = "told apart by the seeds" if swap.decided else "within what the seeds vary"
        lines += [
            f"- old encoder {swap.old}, {swap.epochs} epochs: {swap.first} gains more at the "
            f"fewest classes, {swap.then} at the most ({sure})"
        ]
    return "\n".join(lines) + "\n"


def table(points: list[Point], old: str, epochs: int) -> list[str]:
    """Returns the lines of the table of one old encoder and schedule."""
    chosen = [point for point in points if (point.old, point.epochs) == (old, epochs)]
    if not chosen:
        return []
    classes = sorted(names(chosen, "classes"))
    lines = [f"## Old encoder {old}, {epochs} epochs", ""]
    lines += [f"| method | {' | '.join(f'{count:,}' for count in classes)} |"]
    lines += [f"|---{'|---' * len(classes)}|"]
    for method in names(chosen, "method"):
        cells = dict.fromkeys(classes, "not measured")
        for point in curve(chosen, method, old, epochs):
            cells[point.classes] = f"{told(point.gain)}; tax {told(point.tax)}"
        lines += [f"| {method} | {' | '.join(cells.values())} |"]
    return [*lines, ""]


def told(values: Sequence[float]) -> str:
    """Returns a mean and half the range."""
    half = (max(values) - min(values)) / 2
    return f"{mean(values):+.4f} ± {half:.4f}"


def write(
    folders: list[Path], out: Path, metric: str, ignored: str, say: Callable[[str], None]
) -> None:
    """Reads the reports and writes the curves.

    Args:
        folders: Of the reports.
        out: The folder to write.
        metric: By which metric.
        ignored: The method without constraint.
        say: Takes each line for a person.
    """
    artefacts.check_place(out, KIND)
    points: list[Point] = []
    for folder in folders:
        points += read_points(folder, metric)
    measured = [point for point in points if None not in point.gain + point.tax]
    found = swaps(measured, ignored)
    facts = {"metric": metric, "reports": [str(folder) for folder in folders]}
    with artefacts.new_folder(out, replace=True) as folder:
        text = as_markdown(measured, found, metric)
        (folder / "curves.md").write_text(text)
        content = {
            "points": [asdict(point) for point in measured],
            "swaps": [asdict(swap) for swap in found],
        }
        (folder / "curves.json").write_text(json.dumps(content, indent=1) + "\n")
        for old in names(measured, "old"):
            with mpl.rc_context(plots.printed_style()):
                figure = figure_of(measured, old, metric, ignored)
                figure.savefig(folder / f"{slug(old)}.png", dpi=130, facecolor="white")
        artefacts.write_manifest(folder, KIND, facts)
    say(f"{out}: {len(measured)} points of {len(folders)} reports")
