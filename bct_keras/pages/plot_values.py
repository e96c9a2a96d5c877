"""Says what a plot shows at each place of its x axis, for whoever reads it with mouse or keys."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bct_keras.pages import mixed_plots


@dataclass(frozen=True)
class Value:
    """What a plot shows at one place of its x axis."""

    x: float
    text: str


def curve_values(curves: dict[str, Any]) -> Iterator[Value]:
    """Yields TAR of each test at the rates of the first one's curve."""
    first = next(iter(curves.values()))
    for far in first["far"]:
        texts = []
        for test, curve in curves.items():
            tar = np.interp(np.log(far), np.log(curve["far"]), curve["tar"])
            texts.append(f"{test} TAR {tar:.4f}")
        yield Value(far, f"FAR {far:.1e}: {', '.join(texts)}")


def histogram_values(curve: dict[str, Any]) -> Iterator[Value]:
    """Yields both shares at each cosine that has any."""
    for score, genuine, impostors in zip(
        curve["score"], curve["genuine"], curve["impostors"], strict=True
    ):
        if genuine or impostors:
            text = f"one identity {genuine:.2%}, two {impostors:.2%}"
            yield Value(score, f"cosine {score:.2f}: {text} of their pairs")


def refresh_values(result: dict[str, Any]) -> Iterator[Value]:
    """Yields what is found at each share."""
    found = result["hot_refresh"]
    metric = refresh_metric(found)
    merged = result.get("baselines", {}).get("rank_merging") if metric == "top-1" else None
    for place, share in enumerate(found["share"]):
        text = f"new queries {found['metrics'][metric][place]:.4f}"
        if merged:
            text += f", two merged searches {merged['top-1'][place]:.4f}"
        old = result["old/old"][metric]
        yield Value(100 * share, f"{share:.0%} re-embedded: {metric} {text}, old/old {old:.4f}")


def mixed_values(mixed: dict[str, Any], order: str) -> Iterator[Value]:
    """Yields what each route finds at each share."""
    for place, share in enumerate(mixed["share"]):
        texts = []
        for curve in mixed_plots.shown(mixed["curves"], order):
            found = curve["metrics"][mixed_plots.METRIC][place]
            texts.append(f"{curve['route']} {found:.4f}")
        metric = mixed_plots.METRIC
        yield Value(100 * share, f"{share:.0%} re-embedded: {metric} {', '.join(texts)}")


def refresh_metric(found: dict[str, Any]) -> str:
    """Returns the metric that is drawn."""
    return "top-1" if "top-1" in found["metrics"] else next(iter(found["metrics"]))
