"""explain.html: one page that needs nothing from elsewhere, with the looks of evaluate's."""

import html
from typing import Any

from bct_keras.evaluation.page import document, html_table, image_tag, made_from
from bct_keras.explanations.looks import Look, Match, Pair, View
from bct_keras.explanations.pictures import overlay, plain

STYLE = """
.pair { background: var(--soft); border-radius: .5rem; padding: .6rem .8rem; margin: 0 0 1rem; }
.pair p { margin: 0 0 .4rem; overflow-wrap: anywhere; } .match { margin-top: .6rem; }
.views { display: flex; flex-wrap: wrap; gap: .5rem 2rem; } .views > div { display: flex; gap: .35rem; }
.views figure { width: 5.6rem; } .views img { width: 100%; aspect-ratio: 1; display: block; border-radius: .3rem; }
.views figcaption { font-size: .7rem; line-height: 1.3; }
@media (max-width: 40rem) { .views figure { width: calc((100vw - 6.4rem) / 5); }
  .views figcaption { font-size: .6rem; } }
"""
MEANING = (
    "Hot places speak for the match: they raise the cosine between this image and the other one of the pair. The "
    "gallery is the old encoder's, so its images are always seen by the old encoder; the query is seen by the old one "
    "in old/old and by the new one in new/old. Each map is scaled to its own highest point."
)
KINDS = {
    "negative flip": "Negative flips: right with old/old, wrong with new/old",
    "positive flip": "Positive flips: wrong with old/old, right with new/old",
    "wrong with both": "Wrong with both",
    "right with both": "Right with both, by the smallest margins",
}
TRUST = (
    "Occlusion is measured on the encoder itself: what the cosine loses where a square is covered. A map that agrees "
    "with it tells of the match; one that is the same for another match tells of the image alone. Both are "
    "correlations, the mean over the queries above."
)
NO_GRADIENTS = "has no gradients for the other maps: they need a Keras encoder with convolutions."
MAP = (
    "Old embeddings are dots and new ones crosses, of the same images; a line leads from an identity's old middle to "
    "its new one. Compatible embeddings lie where the old ones of their identity do."
)


def as_html(found: dict[str, Any], looks: list[Look], maps: list[tuple[str, str]]) -> str:
    """`maps` has captions and SVGs."""
    shares = found["shares"]
    title = f"What the encoders look at: {100 * shares['negative flip']:.1f} % negative flips"
    title += f", {100 * shares['positive flip']:.1f} % positive"
    body = [f"<h1>{title}</h1>", f"<p>{MEANING}</p>", *notes(found["encoders"])]
    for kind, heading in KINDS.items():
        shown = [look for look in looks if look.kind == kind]
        body.append(f"<h2>{heading} ({100 * shares[kind]:.1f} % of the queries)</h2>")
        body += [
            f"<h3>Query {html.escape(look.query)}</h3>{''.join(map(pair, look.pairs))}"
            for look in shown
        ]
    body += [
        f"<h2>How far to trust the maps</h2><p>{TRUST}</p>",
        html_table(trust_table(found["trust"])),
    ]
    figures = [
        f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"
        for caption, svg in maps
    ]
    body.append(
        f'<h2>Old and new embeddings</h2><p>{MAP}</p><div class="grid">{"".join(figures)}</div>'
    )
    return document(title, [*body, made_from(found["made_from"])], STYLE)


def notes(encoders: dict[str, Any]) -> list[str]:
    lines = []
    for name, facts in encoders.items():
        where = (
            f"Grad-CAM++ and Score-CAM at layer {facts['layer']} ({facts['grid']})"
            if facts["layer"]
            else NO_GRADIENTS
        )
        lines.append(
            f"<p>The {name} encoder{':' if facts['layer'] else ''} {html.escape(where)}</p>"
        )
    return lines


def pair(found: Pair) -> str:
    meaning = "its own identity" if found.same else "another identity"
    rows = "".join(map(match, found.matches))
    return f'<div class="pair"><p>matched with {html.escape(found.found)}, of <b>{meaning}</b></p>{rows}</div>'


def match(found: Match) -> str:
    views = view(found.query, "query") + view(found.found, "gallery")
    return f'<div class="match">{found.test}: cosine <b>{found.cosine:.3f}</b><div class="views">{views}</div></div>'


def view(found: View, name: str) -> str:
    pictures = {name: plain(found.image)} | {
        key: overlay(found.image, heat) for key, heat in found.heat.items()
    }
    figures = [
        f"<figure>{image_tag(each, key)}<figcaption>{key}</figcaption></figure>"
        for key, each in pictures.items()
    ]
    return f"<div>{''.join(figures)}</div>"


def trust_table(found: dict[str, Any]) -> list[list[str]]:
    rows = [["map", "query by", "agrees with occlusion", "same for the other match"]]
    for test, entries in found.items():
        for name, entry in entries.items():
            rows.append([name, f"{test.partition('/')[0]} encoder", *map(number, entry.values())])
    return rows


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
