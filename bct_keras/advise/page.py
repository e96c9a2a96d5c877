"""Sets report.html, one page whose first screen says what to do."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from bct_keras.advise import tables, units
from bct_keras.advise.candidates import BACKFILL, KEEP
from bct_keras.pages import document, gain_plots, plots
from bct_keras.pages.document import Plot
from bct_keras.pages.gain_plots import GainBar

CAPTION = "What each route gains over the old encoder in its own gallery, with its 95 % interval"
WORDS = {
    "trained": "queries of an encoder that was trained to be compatible, in the old gallery",
    "adapted queries": "queries of the new encoder behind a small map into the old encoder's space",
    "fused": "queries that are the weighted mean of a new embedding and the old one of the same "
    "image; the weight was chosen on training identities",
    "moved gallery": "every entry goes through a small map into the new encoder's space, without "
    "an image",
    "full backfill": "the gallery embedded anew by the new encoder: what no route can exceed by "
    "much, and the dearest",
    "verdict": "compatible: shown to be better than the old encoder by the metrics that decide, "
    "and by none shown to be worse; not compatible: shown to be worse by one; undecided: these "
    "identities are too few to tell",
    "tax": "what the route's encoder has lost in a gallery of its own against the new one, in the "
    "mean of the metrics that decide; it is what is left to lose when all is embedded anew",
    "gallery": "the time until every entry is what the route searches, on this machine, or on so "
    "many like it as are told",
    "storage": "vectors in float32 beside those of today, until these are given up",
    "fit": "of the map, or the training where the run says how long it took",
}


def gain_bars(report: dict[str, Any]) -> list[GainBar]:
    """Returns a bar for each route, in the order of the table."""
    bars = []
    for name, route in report["routes"].items():
        if route["kind"] == KEEP:
            continue
        colour = gain_plots.COLOUR
        if name == report["decision"]["route"]:
            colour = gain_plots.TAKEN
        elif route["kind"] == BACKFILL:
            colour = gain_plots.UPPER_BOUND
        ends = route["gain"]["interval"]
        interval = (ends[0], ends[1]) if ends else None
        bars.append(GainBar(name, route["gain"]["value"], interval, colour))
    return bars


def gain_plot(report: dict[str, Any], png: Path) -> Plot:
    """Draws the gains for the page; writes them as a PNG too."""
    bars = gain_bars(report)

    def draw(axes: Axes) -> None:
        gain_plots.draw(axes, bars)

    plots.save_png(draw, png)
    return Plot(CAPTION, plots.as_svg(draw, "gains"))


def as_html(report: dict[str, Any], plot: Plot) -> str:
    """Returns the page of an advice."""
    decision = report["decision"]
    return document.render(
        "advice",
        title=decision["action"],
        because=decision["because"],
        keeps=report["routes"][decision["route"]]["kind"] == KEEP,
        facts=facts(report),
        unsure=decision["unsure"],
        steps=[shown_step(step) for step in decision["next"]],
        gains=tables.gains(report),
        costs=tables.costs(report),
        given_up=tables.given_up(report),
        plot=plot,
        why_not=tables.why_not(report),
        metrics=list(tables.metrics(report)),
        notes=report["notes"],
        words=WORDS,
        made_from=document.as_texts(report["made_from"]),
    )


def shown_step(step: dict[str, Any]) -> dict[str, str]:
    """Returns a step with a line of its command for each option, as a shell takes it."""
    return {"text": step["text"], "command": " \\\n  ".join(step["command"])}


def facts(report: dict[str, Any]) -> dict[str, str]:
    """Returns what the route to take costs and gives up, in a few words each."""
    route = report["routes"][report["decision"]["route"]]
    if route["kind"] == KEEP:
        return {}
    found = {
        "Verdict": route["verdict"] or "-",
        "A query": query(route),
        "Entries": entries(route),
        "Images": route["given_up"]["images"],
        "Tax": tables.tax_of(route),
    }
    share = share_of_backfill(report, route)
    if share is not None:
        found["Of a full backfill"] = f"{100 * share:.0f} % of its gain"
    return found


def query(route: dict[str, Any]) -> str:
    """Returns what a query costs."""
    seconds = route["costs"]["query_seconds"]
    networks = route["given_up"]["networks"]
    return networks if seconds is None else f"{networks}, {units.duration(seconds)} here"


def entries(route: dict[str, Any]) -> str:
    """Returns what becomes of the gallery."""
    text = route["given_up"]["entries"]
    if not route["costs"]["extra_bytes"]:
        return text
    extra = units.size(route["costs"]["extra_bytes"])
    time_needed = tables.hours_on_gallery(route["costs"])
    if "machines" in time_needed:
        return f"{text}: {time_needed} like this one, {extra} beside today's"
    return f"{text}: {time_needed} here, {extra} beside today's"


def share_of_backfill(report: dict[str, Any], route: dict[str, Any]) -> float | None:
    """Returns how much of a whole backfill's gain a route has; None where that has none."""
    for each in report["routes"].values():
        if each["kind"] == BACKFILL and each["gain"]["value"] > 0:
            return route["gain"]["value"] / each["gain"]["value"]
    return None
