"""Plots of a report, each as SVG for the page, where it takes the page's colours, and as PNG."""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bct_keras.pages import mixed_plots, small_svg
from bct_keras.pages.axis_labels import legend_above, plain_numbers
from bct_keras.pages.document import Plot, Reading
from bct_keras.pages.plot_values import (
    Value,
    curve_values,
    histogram_values,
    mixed_values,
    refresh_metric,
    refresh_values,
)

SMALLEST_FRR = 1e-4  # that is shown
FOREGROUND = "#123456"  # stands for the page's text colour
COLOURS = {
    "old/old": "#8a8d91",
    "new/old": "#2f81f7",
    "adapted/old": "#a371f7",
    "fused/old": "#db6d28",
    "new/moved": "#d6409f",
    "new/new": "#2da44e",
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "bct_keras",  # the same report, the same bytes
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,  # a name may hold what starts a formula
    "axes.edgecolor": FOREGROUND,
    "axes.labelcolor": FOREGROUND,
    "text.color": FOREGROUND,
    "xtick.color": FOREGROUND,
    "ytick.color": FOREGROUND,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "grid.color": FOREGROUND,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True)
class Drawing:
    """A plot that is not drawn yet."""

    name: str  # of its file
    caption: str
    draw: Callable[[Axes], None]
    values: tuple[Value, ...] = ()  # by rising x


def plots_of(result: dict[str, Any]) -> Iterator[Drawing]:
    """Yields all plots that one protocol's result allows, the way through a refresh first."""
    if "hot_refresh" in result:
        yield Drawing(
            "hot_refresh",
            mixed_plots.caption_of_refresh(result),
            lambda axes: hot_refresh(axes, result),
            tuple(refresh_values(result)),
        )
    mixed = result.get("mixed", {})
    for number, order in enumerate(mixed_plots.orders_of(mixed.get("curves", [])), 1):
        yield Drawing(
            f"mixed_{number}",
            mixed_plots.caption_of(order),
            lambda axes, order=order: mixed_plots.draw(axes, result, order),
            tuple(mixed_values(mixed, order)),
        )
    curves = result.get("curves", {})
    if curves:
        caption = (
            "ROC: pairs of one identity that are accepted (TAR) "
            "over pairs of two accepted (FAR), with 95 % interval"
        )
        values = tuple(curve_values(curves))
        yield Drawing("roc", caption, lambda axes: roc(axes, curves), values)
        caption = (
            "DET: pairs of one identity that are rejected (FRR) "
            "over pairs of two accepted (FAR), with 95 % interval"
        )
        yield Drawing("det", caption, lambda axes: det(axes, curves), values)
    shown = [test for test in ("old/old", "new/old") if test in curves]
    tallest = max((highest_share(curves[test]) for test in shown), default=1.0)
    for test in shown:
        caption = f"Scores of {test}: pairs of one identity and of two"
        yield Drawing(
            f"scores_{test.replace('/', '_')}",
            caption,
            lambda axes, test=test: histogram(axes, curves[test], tallest),
            tuple(histogram_values(curves[test])),
        )


def highest_share(curve: dict[str, Any]) -> float:
    """Returns the largest share of pairs in one place of a histogram."""
    return max(*curve["genuine"], *curve["impostors"])


def roc(axes: Axes, curves: dict[str, Any]) -> None:
    """Draws TAR over FAR."""
    for test, curve in curves.items():
        far = curve["far"]
        axes.plot(far, curve["tar"], color=COLOURS[test], label=test)
        axes.fill_between(
            far,
            curve["low"],
            curve["high"],
            color=COLOURS[test],
            alpha=0.2,
            linewidth=0,
        )
    axes.set(xscale="log", xlabel="FAR", ylabel="TAR", ylim=(0, 1.02), xlim=far_ends(curves))
    plain_numbers(axes.xaxis)
    legend_above(axes)


def det(axes: Axes, curves: dict[str, Any]) -> None:
    """Draws FRR, the share of the pairs that are missed, over FAR."""
    for test, curve in curves.items():
        far = curve["far"]
        axes.plot(far, missed(curve["tar"]), color=COLOURS[test], label=test)
        axes.fill_between(
            far,
            missed(curve["high"]),
            missed(curve["low"]),
            color=COLOURS[test],
            alpha=0.2,
            linewidth=0,
        )
    axes.set(
        xscale="log", yscale="log", xlabel="FAR", ylabel="FRR = 1 - TAR", xlim=far_ends(curves)
    )
    plain_numbers(axes.xaxis)
    plain_numbers(axes.yaxis)
    legend_above(axes)


def far_ends(curves: dict[str, Any]) -> tuple[float, float]:
    """Returns the ends of the axis of rates, the same for both plots over it."""
    every = [far for curve in curves.values() for far in curve["far"]]
    return min(every), max(every)


def missed(tar: list[float]) -> list[float]:
    """Returns 1 - TAR, above 0 so that a logarithmic axis can show it."""
    return [max(1 - share, SMALLEST_FRR) for share in tar]


def histogram(axes: Axes, curve: dict[str, Any], tallest: float) -> None:
    """Draws the scores of pairs of one identity and of two; `tallest` is the end of the y axis."""
    for key, label, colour in (
        ("impostors", "two identities", "#8a8d91"),
        ("genuine", "one identity", "#2f81f7"),
    ):
        axes.fill_between(
            curve["score"],
            curve[key],
            step="mid",
            color=colour,
            alpha=0.5,
            linewidth=0,
            label=label,
        )
    axes.set(xlabel="cosine", ylabel="share of the pairs", xlim=(-1, 1), ylim=(0, 1.05 * tallest))
    legend_above(axes)


def hot_refresh(axes: Axes, result: dict[str, Any]) -> None:
    """Draws what new queries find while the gallery is embedded anew."""
    found = result["hot_refresh"]
    percent = [100 * share for share in found["share"]]
    metric = refresh_metric(found)
    axes.plot(
        percent,
        found["metrics"][metric],
        color=COLOURS["new/old"],
        marker="o",
        label="new queries",
    )
    axes.axhline(
        result["old/old"][metric],
        color=COLOURS["old/old"],
        linestyle="--",
        label="old/old",
    )
    merged = result.get("baselines", {}).get("rank_merging")
    if merged and metric == "top-1":
        axes.plot(
            percent,
            merged["top-1"],
            color="#bf8700",
            linestyle=":",
            label="two merged searches",
        )
    axes.set(xlabel="share of the gallery re-embedded (%)", ylabel=metric)
    if result.get("mixed", {}).get("curves") and metric == mixed_plots.METRIC:
        axes.set(ylim=mixed_plots.ends_of(result))
    legend_above(axes)


def drawn(draw: Callable[[Axes], None]) -> Figure:
    """Returns the figure of a plot."""
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    draw(figure.add_subplot())
    return figure


def as_plot(drawing: Drawing, name: str) -> Plot:
    """Returns a plot for a page, with what can be read off it.

    Args:
        drawing: What is drawn.
        name: What the names within it begin with.
    """
    with mpl.rc_context(STYLE):
        figure = drawn(drawing.draw)
        svg = svg_of(figure, name)
        axes = figure.axes[0]
        readings = []
        for value in drawing.values:
            across, _ = axes.transData.transform((value.x, axes.get_ylim()[0]))
            readings.append(Reading(round(float(across / figure.bbox.width), 4), value.text))
    return Plot(drawing.caption, svg, tuple(readings))


def as_svg(draw: Callable[[Axes], None], name: str) -> str:
    """Returns a plot as SVG to stand in the page.

    It has no heading of its own, and names that no other plot has.

    Args:
        draw: What draws it.
        name: What the names within it begin with.
    """
    with mpl.rc_context(STYLE):
        return svg_of(drawn(draw), name)


def svg_of(figure: Figure, name: str) -> str:
    """Returns a figure as SVG; what `as_svg` says holds here too."""
    file = io.StringIO()
    metadata = {"Date": None, "Creator": None}
    figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r' (d|x|y)="[^"]*"', lambda found: small_svg.rounded(found.group()), svg)
    svg = re.sub(r"font-family: [^;]*; ", "", svg)  # it is the page's
    svg = small_svg.without_bulk(small_svg.without_idle_names(svg))
    return svg.replace(FOREGROUND, "currentColor")


def printed_style() -> dict[Any, Any]:
    """Returns the style of a plot on white paper."""
    style = dict(STYLE)
    for key, value in STYLE.items():
        if value == FOREGROUND:
            style[key] = "black"
    return style


def save_png(draw: Callable[[Axes], None], path: Path) -> None:
    """Writes a plot as a PNG."""
    with mpl.rc_context(printed_style()):
        drawn(draw).savefig(path, dpi=160, facecolor="white")
