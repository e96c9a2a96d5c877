"""Sets report.html, one page that needs nothing from elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from bct_keras.evaluate import (
    backfills,
    curve_tables,
    headings,
    report,
    report_routes,
    summary,
    words,
)
from bct_keras.evaluate.next_steps import next_steps
from bct_keras.pages import document
from bct_keras.pages.document import Download, Picture, Plot, Table

# What the captions of the first plots begin with; the first kind that there is.
FIRST_PLOTS = ("Mixed galleries", "Hot refresh")
FLIPS = {
    "negative": "right with old/old, wrong with new/old",
    "positive": "wrong with old/old, right with new/old",
}


@dataclass(frozen=True)
class Mistake:
    """Holds a query that takes another identity's image for its own.

    A picture is None where the image cannot be shown.
    """

    query: str
    found: str
    query_picture: Picture | None
    found_picture: Picture | None


@dataclass(frozen=True)
class Flips:
    """Holds one kind of flips, with examples."""

    heading: str
    mistakes: list[Mistake]


@dataclass(frozen=True)
class ProtocolPart:
    """Holds what the page shows of one protocol."""

    name: str
    deciding: list[Table]
    notes: list[str]
    plots: list[Plot]
    others: list[Table]
    flips: list[Flips]


def as_html(
    found: dict[str, Any],
    plots: Mapping[str, list[Plot]] | None = None,
    pictures: Mapping[str, Mapping[str, Image.Image]] | None = None,
    place: str = "REPORT",
) -> str:
    """Returns the page of a report.

    Args:
        found: What report.json says.
        plots: The plots of each protocol.
        pictures: The images of each protocol's examples, by their names.
        place: The folder of the report, for commands that take it.
    """
    protocols = []
    for name, result in found["protocols"].items():
        images = (pictures or {}).get(name, {})
        protocols.append(part_of(name, result, (plots or {}).get(name, []), images))
    first_plots, on_the_way = [], []
    if protocols:  # the first picture stands on the first screen
        first_plots = first_plots_of(protocols[0].plots)
        others = [plot for plot in protocols[0].plots if plot not in first_plots]
        protocols[0] = replace(protocols[0], plots=others)
        on_the_way = list(backfills.sentences(next(iter(found["protocols"].values()))))
    return document.render(
        "report",
        title=headings.title(found),
        colour=headings.colour(found),
        because=headings.lead(found),
        facts=summary.fact_lines(found),
        steps=next_steps(found, place),
        first_plots=first_plots,
        on_the_way=on_the_way,
        downloads=downloads(found, protocols),
        verdict=found["verdict"] or "",
        overviews=list(report_routes.overviews(found)),
        verdicts=verdict_lines(found),
        of_series=any("matrix" in result for result in found["protocols"].values()),
        protocols=protocols,
        words=words.of(found["protocols"]),
        made_from=document.as_texts(found["made_from"]),
    )


def first_plots_of(plots: list[Plot]) -> list[Plot]:
    """Returns the plots of a gallery on its way to the new encoder, as a backfill takes it."""
    for beginning in FIRST_PLOTS:
        found = [plot for plot in plots if plot.caption.startswith(beginning)]
        if found:
            return found
    return []


def verdict_lines(found: dict[str, Any]) -> list[str]:
    """Returns the verdicts that the title does not have: on candidates or on routes."""
    several = "candidates" in found or "routes" in found
    return report.verdict_lines(found) if several else []


def downloads(found: dict[str, Any], protocols: list[ProtocolPart]) -> list[Download]:
    """Returns the numbers of the page as files within it."""
    tables = list(report_routes.overviews(found))
    for protocol in protocols:
        for table in (*protocol.deciding, *protocol.others):
            parts = [part for part in (protocol.name, table.heading) if part]
            tables.append(Table(": ".join(parts), table.rows))
    curves = []
    for name, result in found["protocols"].items():
        curves += curve_tables.of(name, result)
    return [
        document.download("tables.csv", document.as_csv(tables), "text/csv"),
        document.download("curves.csv", document.as_csv(curves), "text/csv"),
    ]


def part_of(
    name: str, result: dict[str, Any], plots: list[Plot], pictures: Mapping[str, Image.Image]
) -> ProtocolPart:
    """Returns what the page shows of one protocol."""
    notes = list(result.get("notes", []))
    if "units" in result:
        count = result["units"]["count"]
        units = result["units"]["name"]
        notes.append(f"Intervals hold in 95 of 100 samples of {count:,} {units} each.")
    return ProtocolPart(
        name=name,
        deciding=list(report.deciding_tables(result)),
        notes=notes,
        plots=plots,
        others=list(report.other_tables(result)),
        flips=flips_of(result["flips"], pictures) if "flips" in result else [],
    )


def flips_of(found: dict[str, Any], pictures: Mapping[str, Image.Image]) -> list[Flips]:
    """Returns both kinds of flips."""
    kinds = []
    for kind, meaning in FLIPS.items():
        share = f"{100 * found[kind]:.1f} % of the queries"
        heading = f"{kind.capitalize()} flips: {share} ({meaning})"
        mistakes = []
        for example in found["examples"]:
            if example["kind"] == kind:
                mistakes.append(mistake_of(example, pictures))
        kinds.append(Flips(heading, mistakes))
    return kinds


def mistake_of(example: dict[str, Any], pictures: Mapping[str, Image.Image]) -> Mistake:
    """Returns what the page shows of one query that flips."""
    query = example["query"]
    found = example["found"]
    return Mistake(
        query=query,
        found=found,
        query_picture=shown(query, pictures),
        found_picture=shown(found, pictures),
    )


def shown(name: str, pictures: Mapping[str, Image.Image]) -> Picture | None:
    """Returns the picture of that name, where there is one."""
    if name not in pictures:
        return None
    return document.picture(name, pictures[name])
