"""Plots of a report, each as SVG for the page, where it takes the page's colours, and as PNG."""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from bct_keras.pages import mixed_plots

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


def plots_of(result: dict[str, Any]) -> Iterator[Drawing]:
    """Yields all plots that one protocol's result allows."""
    curves = result.get("curves", {})
    if curves:
        caption = (
            "ROC: pairs of one identity that are accepted (TAR) "
            "over pairs of two accepted (FAR), with 95 % interval"
        )
        yield Drawing("roc", caption, lambda axes: roc(axes, curves))
        caption = (
            "DET: pairs of one identity that are rejected (FRR) "
            "over pairs of two accepted (FAR), with 95 % interval"
        )
        yield Drawing("det", caption, lambda axes: det(axes, curves))
    for test in ("old/old", "new/old"):
        if test in curves:
            name = f"scores_{test.replace('/', '_')}"
            caption = f"Scores of {test}: pairs of one identity and of two"
            yield Drawing(name, caption, lambda axes, test=test: histogram(axes, curves[test]))
    if "hot_refresh" in result:
        caption = "Hot refresh: what new queries find while the gallery is re-embedded"
        yield Drawing("hot_refresh", caption, lambda axes: hot_refresh(axes, result))
    mixed = result.get("mixed", {})
    for number, order in enumerate(mixed_plots.orders_of(mixed.get("curves", [])), 1):
        caption = (
            f"Mixed galleries, {order}: one list over old and new entries (dots: the better of "
            "searching either part alone)"
        )
        yield Drawing(
            f"mixed_{number}",
            caption,
            lambda axes, order=order: mixed_plots.draw(axes, result, order),
        )


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
    axes.set(xscale="log", xlabel="FAR", ylabel="TAR", ylim=(0, 1.02))
    plain_numbers(axes.xaxis)
    axes.legend(loc="lower right")


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
    axes.set(xscale="log", yscale="log", xlabel="FAR", ylabel="FRR = 1 - TAR")
    plain_numbers(axes.xaxis)
    plain_numbers(axes.yaxis)
    axes.legend(loc="lower left")


def missed(tar: list[float]) -> list[float]:
    """Returns 1 - TAR, above 0 so that a logarithmic axis can show it."""
    return [max(1 - share, SMALLEST_FRR) for share in tar]


def plain_numbers(axis: Axis) -> None:
    """Labels a logarithmic axis with numbers such as 1e-02.

    Matplotlib's own labels are formulas, which are shown as they are written (`text.parse_math`).
    """
    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter(labelOnlyBase=False))


def histogram(axes: Axes, curve: dict[str, Any]) -> None:
    """Draws the scores of pairs of one identity and of two."""
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
    axes.set(xlabel="cosine", ylabel="share of the pairs", ylim=(0, None))
    axes.legend(loc="upper left")


def hot_refresh(axes: Axes, result: dict[str, Any]) -> None:
    """Draws what new queries find while the gallery is embedded anew."""
    found = result["hot_refresh"]
    percent = [100 * share for share in found["share"]]
    metric = "top-1" if "top-1" in found["metrics"] else next(iter(found["metrics"]))
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
            label="two searches, ranks merged",
        )
    axes.set(xlabel="share of the gallery re-embedded (%)", ylabel=metric)
    axes.legend(loc="best")


def drawn(draw: Callable[[Axes], None]) -> Figure:
    """Returns the figure of a plot."""
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    draw(figure.add_subplot())
    return figure


def as_svg(draw: Callable[[Axes], None], name: str) -> str:
    """Returns a plot as SVG to stand in the page.

    It has no heading of its own, and names that no other plot has.

    Args:
        draw: What draws it.
        name: What the names within it begin with.
    """
    with mpl.rc_context(STYLE):
        file = io.StringIO()
        drawn(draw).savefig(
            file, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
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
