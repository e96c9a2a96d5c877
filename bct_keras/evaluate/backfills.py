"""Says what a backfill of the gallery comes to on its way, below the plots that show it."""

from collections.abc import Iterator
from typing import Any

from bct_keras.evaluate.findings import OLD_OLD
from bct_keras.evaluate.routes import RANDOM
from bct_keras.pages import mixed_plots
from bct_keras.pages.plot_values import refresh_metric

BEFORE = " The verdict is on the gallery before, with nothing re-embedded."


def sentences(result: dict[str, Any]) -> Iterator[str]:
    """Yields a sentence for each route by which queries search while the gallery is re-embedded."""
    curves = mixed_plots.shown(result.get("mixed", {}).get("curves", []), RANDOM)
    if curves:
        shares, metric = result["mixed"]["share"], mixed_plots.METRIC
        for curve in curves:
            by = f" by the route {curve['route']}" if len(curves) > 1 else ""
            yield sentence(result, by, metric, shares, curve["metrics"][metric])
    elif "hot_refresh" in result:
        found = result["hot_refresh"]
        metric = refresh_metric(found)
        yield sentence(result, "", metric, found["share"], found["metrics"][metric])


def sentence(
    result: dict[str, Any], by: str, metric: str, shares: list[float], values: list[float]
) -> str:
    """Returns how low a metric falls while entries are re-embedded in random order.

    Args:
        result: The protocol's part of report.json.
        by: Which route it is, where there are several.
        metric: Such as top-1.
        shares: How much is re-embedded.
        values: The metric at each share.
    """
    lowest = min(values)
    share = shares[values.index(lowest)]
    old = result[OLD_OLD][metric]
    start = f"During a backfill{by}, {metric}"
    end = f"it ends at {values[-1]:.4f}."
    if lowest >= old:
        return f"{start} is never below the old encoder's own of today ({old:.4f}); {end}"
    return (
        f"{start} is lowest, {lowest:.4f}, with {share:.0%} re-embedded, below the old encoder's "
        f"own of today ({old:.4f}); {end}"
        f"{BEFORE if share else ''}"
    )
