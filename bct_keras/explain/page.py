"""explain.html: one page that needs nothing from elsewhere, with the looks of evaluate's."""

from dataclasses import dataclass
from typing import Any

from bct_keras.explain.looks import Look, Match, Pair, View
from bct_keras.explain.pictures import overlay, plain
from bct_keras.pages import document
from bct_keras.pages.document import Picture, Plot

KINDS = {
    "negative flip": "Negative flips: right with old/old, wrong with new/old",
    "positive flip": "Positive flips: wrong with old/old, right with new/old",
    "wrong with both": "Wrong with both",
    "right with both": "Right with both, by the smallest margins",
}


@dataclass(frozen=True)
class MatchPart:
    """What the page shows of a match: both images, each as it is and under every map."""

    test: str
    cosine: str
    query: list[Picture]
    found: list[Picture]


@dataclass(frozen=True)
class PairPart:
    """A query with an image of the gallery, by both tests."""

    found: str
    meaning: str
    matches: list[MatchPart]


@dataclass(frozen=True)
class LookPart:
    """A query with the image it should find and the one it is taken for."""

    query: str
    pairs: list[PairPart]


@dataclass(frozen=True)
class KindPart:
    """The queries of one kind."""

    heading: str
    looks: list[LookPart]


def as_html(found: dict[str, Any], looks: list[Look], maps: list[Plot]) -> str:
    """Returns the page.

    Args:
        found: What explain.json says.
        looks: What both encoders look at in each example.
        maps: Plots of old and new embeddings.
    """
    percent = {}
    for kind, share in found["shares"].items():
        percent[kind] = f"{100 * share:.1f} %"
    kinds = []
    for kind, heading in KINDS.items():
        shown = []
        for look in looks:
            if look.kind == kind:
                shown.append(look_part(look))
        kinds.append(KindPart(f"{heading} ({percent[kind]} of the queries)", shown))
    negative = percent["negative flip"]
    positive = percent["positive flip"]
    return document.render(
        "explain",
        title=f"What the encoders look at: {negative} negative flips, {positive} positive",
        notes=notes(found["encoders"]),
        kinds=kinds,
        trust=trust_rows(found["trust"]),
        maps=maps,
        made_from=document.as_texts(found["made_from"]),
    )


def notes(encoders: dict[str, Any]) -> list[str]:
    """Returns for each encoder where its maps are taken, or why it has but one."""
    lines = []
    for name, facts in encoders.items():
        if facts["layer"]:
            where = f"at layer {facts['layer']} ({facts['grid']})"
            lines.append(f"The {name} encoder: Grad-CAM++ and Score-CAM {where}")
        else:
            lines.append(
                f"The {name} encoder has no gradients for the other maps: they need a Keras "
                "encoder with convolutions."
            )
    return lines


def look_part(look: Look) -> LookPart:
    """Returns what the page shows of a look."""
    pairs = [pair_part(pair) for pair in look.pairs]
    return LookPart(look.query, pairs)


def pair_part(pair: Pair) -> PairPart:
    """Returns what the page shows of a pair."""
    matches = [match_part(match) for match in pair.matches]
    return PairPart(
        found=pair.found,
        meaning="its own identity" if pair.same else "another identity",
        matches=matches,
    )


def match_part(match: Match) -> MatchPart:
    """Returns what the page shows of a match."""
    return MatchPart(
        test=match.test,
        cosine=f"{match.cosine:.3f}",
        query=pictures(match.query, "query"),
        found=pictures(match.found, "gallery"),
    )


def pictures(view: View, name: str) -> list[Picture]:
    """Returns an image as it is, under its name, and under each map.

    Args:
        view: The image with its maps.
        name: What the page calls the image.
    """
    whole = plain(view.image)
    found = [document.picture(name, whole)]
    for explanation, heat in view.heat.items():
        under_map = overlay(view.image, heat)
        found.append(document.picture(explanation, under_map))
    return found


def trust_rows(found: dict[str, Any]) -> list[list[str]]:
    """Returns the table of how far to trust each map."""
    rows = [["map", "query by", "agrees with occlusion", "same for the other match"]]
    for test, entries in found.items():
        encoder, _, _ = test.partition("/")
        for name, entry in entries.items():
            row = [
                name,
                f"{encoder} encoder",
                number(entry["occlusion"]),
                number(entry["other match"]),
            ]
            rows.append(row)
    return rows


def number(value: float | None) -> str:
    """Returns a number as text, `-` for none."""
    return "-" if value is None else f"{value:.2f}"
