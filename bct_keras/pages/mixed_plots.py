"""Draws what is found in a gallery while it is re-embedded, by each route."""

from typing import Any

from matplotlib.axes import Axes

from bct_keras.pages.axis_labels import legend_above

COLOURS = {
    "new": "#2f81f7",
    "adapted": "#a371f7",
    "fused": "#db6d28",
    "moved": "#d6409f",
}
METRIC = "top-1"


def shown(curves: list[dict[str, Any]], order: str) -> list[dict[str, Any]]:
    """Returns one curve of each route, by an order.

    It is the first: that by cosines where all is in one space, and else that by odds.
    """
    found = {}
    for curve in curves:
        if curve["order"] == order:
            found.setdefault(curve["route"], curve)
    return list(found.values())


def orders_of(curves: list[dict[str, Any]]) -> list[str]:
    """Returns the orders that there are curves of, each once."""
    return list(dict.fromkeys(curve["order"] for curve in curves))


def better_part(curve: dict[str, Any]) -> list[float]:
    """Returns top-1 in the old entries alone or the new ones alone, the higher, at each share."""
    alone = curve["alone"]
    return [max(old, new) for old, new in zip(alone["old"], alone["new"], strict=True)]


def ends_of(result: dict[str, Any]) -> tuple[float, float]:
    """Returns the ends of the axis of top-1, the same for all plots of a refresh."""
    values = [result["old/old"][METRIC]]
    values += result.get("hot_refresh", {}).get("metrics", {}).get(METRIC, [])
    values += result.get("baselines", {}).get("rank_merging", {}).get(METRIC, [])
    for curve in result["mixed"]["curves"]:
        values += curve["metrics"][METRIC]
        values += better_part(curve)
    room = 0.05 * (max(values) - min(values)) + 1e-3
    return min(values) - room, max(values) + room


def caption_of(order: str) -> str:
    """Returns the caption of the plot of an order."""
    return (
        f"Mixed galleries, {order}: what new queries find while a backfill re-embeds the "
        "entries in this order, old and new ones in one list (dots: the old ones alone or the new "
        "ones alone, whichever finds more)"
    )


def caption_of_refresh(result: dict[str, Any]) -> str:
    """Returns the caption of hot refresh, which says whether a backfill goes that way."""
    caption = "Hot refresh: what new queries find while the gallery is re-embedded"
    curves = result.get("mixed", {}).get("curves", [])
    if not curves:
        return f"{caption}, as a backfill does it"
    if any(curve["route"] == "new" and curve["merged_by"] == "cosine" for curve in curves):
        return f"{caption}, by new/old alone; it is the blue line of the mixed galleries above"
    return (
        f"{caption}, if one embedding of a query searched old and new entries alike. A backfill to "
        "this encoder does not go so: it follows the mixed galleries above"
    )


def draw(axes: Axes, result: dict[str, Any], order: str) -> None:
    """Draws top-1 of each route, with dots for the better of searching either part alone."""
    mixed = result["mixed"]
    percent = [100 * share for share in mixed["share"]]
    for curve in shown(mixed["curves"], order):
        colour = COLOURS[curve["route"]]
        axes.plot(percent, curve["metrics"][METRIC], color=colour, marker="o", label=curve["route"])
        axes.plot(percent, better_part(curve), color=colour, linestyle=":", linewidth=1)
    axes.axhline(result["old/old"][METRIC], color="#8a8d91", linestyle="--", label="old/old")
    axes.set(xlabel="share of the gallery re-embedded (%)", ylabel=METRIC, ylim=ends_of(result))
    legend_above(axes)
