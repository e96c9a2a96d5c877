"""report.html: one page that needs nothing from elsewhere."""

import base64
import html
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from bct_keras.evaluation import report, words

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --good: #1a7f37; --bad: #c62828; }
@media (prefers-color-scheme: dark) { :root { --good: #4ac26b; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.3; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin-top: 2.5rem; overflow-wrap: anywhere; } h3 { font-size: 1rem; margin: 2rem 0 .5rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .8rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: Canvas; }
@media (max-width: 40rem) { table { font-size: .8rem; } th, td { padding: .3rem .45rem; } h1 { font-size: 1.25rem; }
  td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 6.5rem; } }
.good { color: var(--good); } .bad { color: var(--bad); }
.grid { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
figure { margin: 0; min-width: 0; } figcaption { font-size: .85rem; opacity: .8; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; display: block; }
.faces { display: flex; flex-wrap: wrap; gap: 1rem; }
.faces figure { background: var(--soft); border-radius: .5rem; padding: .6rem; width: 10.5rem; }
.faces img { width: 4rem; height: 4rem; flex: none; object-fit: cover; border-radius: .3rem; image-rendering: auto; }
.faces .two { display: flex; justify-content: space-between; align-items: center; }
code { overflow-wrap: anywhere; font-size: .85rem; } dt { font-weight: 600; } dd { margin: 0 0 .5rem; }
"""
MEANING_OF_SERIES = (
    "Queries of each newer encoder are searched in the gallery of an older one and compared with that one's own "
    "queries there. A candidate is compatible where it is shown to be better by the metrics that decide, and by none "
    "shown to be worse. Average compatibility is the share of all pairs of encoders in which the newer one is above."
)
MEANING = (
    "Compatible means that queries of the new encoder in the old gallery (new/old) are shown to be better than the old "
    "encoder's own (old/old) by the metrics that decide, and by no metric shown to be worse. Not compatible: by one "
    "they are worse. Undecided: these identities are too few to tell. A gain is better where all of its 95 % interval "
    "lies above 0, no worse where all of it lies above minus the margin, worse where all of it lies below 0, and else "
    "open. The last column is the papers' condition alone: new/old above old/old. new/new is the new encoder in a "
    "gallery of its own."
)
COLOURS = {
    "compatible": "good",
    "not compatible": "bad",
    "better": "good",
    "worse": "bad",
    "yes": "good",
    "NO": "bad",
}
THUMBNAIL = 112


@dataclass(frozen=True)
class Plot:
    """A plot as it stands in a page."""

    caption: str
    svg: str


def as_html(
    found: dict[str, Any],
    plots: Mapping[str, list[Plot]] | None = None,
    pictures: Mapping[str, Mapping[str, Image.Image]] | None = None,
) -> str:
    """`plots` has captions and SVGs for each protocol, `pictures` images by name."""
    title = headline(found)
    colour = COLOURS.get(found["verdict"] or "", "")
    body = [f'<h1 class="{colour}">{html.escape(title)}</h1>']
    body += [
        f"<p>{html.escape(line)}</p>"
        for line in report.verdict_lines(found)
        if "candidates" in found
    ]
    if found["verdict"]:
        of_series = any("matrix" in result for result in found["protocols"].values())
        body.append(f"<p>{MEANING_OF_SERIES if of_series else MEANING}</p>")
    for name, result in found["protocols"].items():
        body.append(f"<h2>{html.escape(name)}</h2>")
        for heading, rows in report.first_tables(result):
            body.append((f"<h3>{html.escape(heading)}</h3>" if heading else "") + html_table(rows))
        body += sections(result, (plots or {}).get(name, []), (pictures or {}).get(name, {}))
    body.append(defined(words.of(found["protocols"])))
    body.append(made_from(found["made_from"]))
    return document(title, body)


def document(title: str, body: list[str], more_style: str = "") -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)} - bct_keras</title><style>{STYLE}{more_style}</style></head>\n"
        f"<body>{''.join(body)}</body></html>\n"
    )


def headline(found: dict[str, Any]) -> str:
    if "candidates" in found and not found["verdict"]:
        return "A verdict on each candidate"
    if not found["verdict"]:
        return "Self-test"
    because = f": {found['because']}" if found.get("because") else ""
    return found["verdict"][0].upper() + found["verdict"][1:] + because


def sections(
    result: dict[str, Any], plots: list[Plot], pictures: Mapping[str, Image.Image]
) -> list[str]:
    parts = [f"<p>{html.escape(note)}</p>" for note in result.get("notes", [])]
    if "units" in result:
        count, name = result["units"]["count"], result["units"]["name"]
        parts.append(
            f"<p>Intervals hold in 95 of 100 samples of {count:,} {html.escape(name)} each.</p>"
        )
    if plots:
        figures = [
            f"<figure>{each.svg}<figcaption>{html.escape(each.caption)}</figcaption></figure>"
            for each in plots
        ]
        parts.append(f'<div class="grid">{"".join(figures)}</div>')
    for heading, rows in report.more_tables(result):
        parts.append(f"<h3>{html.escape(heading)}</h3>{html_table(rows)}")
    if "flips" in result:
        parts.append(flips(result["flips"], pictures))
    return parts


def flips(found: dict[str, Any], pictures: Mapping[str, Image.Image]) -> str:
    parts = []
    meanings = {
        "negative": "right with old/old, wrong with new/old",
        "positive": "wrong with old/old, right with new/old",
    }
    for kind, meaning in meanings.items():
        parts.append(
            f"<h3>{kind.capitalize()} flips: {100 * found[kind]:.1f} % of the queries ({meaning})</h3>"
        )
        figures = [
            f'<figure><div class="two">{picture(each["query"], pictures)}<span>&rarr;</span>'
            f"{picture(each['found'], pictures)}</div>"
            f"<figcaption>{html.escape(each['query'])} taken for {html.escape(each['found'])}</figcaption></figure>"
            for each in found["examples"]
            if each["kind"] == kind
        ]
        parts.append(f'<div class="faces">{"".join(figures)}</div>')
    return "".join(parts)


def picture(name: str, pictures: Mapping[str, Image.Image]) -> str:
    if name not in pictures:
        return ""
    return image_tag(pictures[name], name)


def image_tag(image: Image.Image, name: str) -> str:
    image, file = image.convert("RGB"), io.BytesIO()
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    image.save(file, "JPEG", quality=85)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{html.escape(name)}" src="data:image/jpeg;base64,{data}">'


def defined(meanings: dict[str, str]) -> str:
    rows = "".join(f"<dt>{word}</dt><dd>{text}</dd>" for word, text in meanings.items())
    return f"<h2>Words</h2><dl>{rows}</dl>" if rows else ""


def made_from(facts: dict[str, Any]) -> str:
    rows = "".join(
        f"<dt>{html.escape(key)}</dt><dd><code>{html.escape(value if isinstance(value, str) else json.dumps(value))}"
        "</code></dd>"
        for key, value in facts.items()
    )
    return f"<h2>Made from</h2><dl>{rows}</dl>"


def html_table(rows: list[list[str]]) -> str:
    heading = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in rows[0])
    lines = []
    for row in rows[1:]:
        cells = "".join(f'<td class="{colour_of(cell)}">{html.escape(cell)}</td>' for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table><tr>{heading}</tr>{"".join(lines)}</table></div>'


def colour_of(cell: str) -> str:
    """Returns the class of a cell that is a word, or a number with one behind it."""
    number, _, word = cell.partition(" ")
    return COLOURS.get(cell) or (COLOURS.get(word, "") if number[:1].isdigit() else "")
