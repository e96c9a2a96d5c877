"""What pages are made of: tables, plots and small images, set by the templates beside this file.

Every text that a template is given is escaped (autoescape), whatever names of files it holds; only
the SVG of our own plots goes in as it is.
"""

import base64
import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

COLOURS = {
    "compatible": "good",
    "not compatible": "bad",
    "better": "good",
    "worse": "bad",
    "yes": "good",
    "NO": "bad",
}
THUMBNAIL = 112  # pixels
# What a spreadsheet takes for a formula; a number with a sign, or an interval of such, is none.
FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d.,e%()+ to-]*$)")


@dataclass(frozen=True)
class Table:
    """A table under a heading, which may be empty."""

    heading: str
    rows: list[list[str]]  # the first one is the head
    note: str = ""  # what a reader has to know of it


@dataclass(frozen=True)
class Reading:
    """The values of a plot at one place."""

    place: float  # from 0, at the left end of the picture, to 1
    text: str


@dataclass(frozen=True)
class Plot:
    """A plot with its caption."""

    caption: str
    svg: str  # by `plots.as_svg`, which escapes the texts within
    readings: tuple[Reading, ...] = ()  # what a reader can read off with mouse or keyboard


@dataclass(frozen=True)
class Picture:
    """A small image."""

    name: str
    url: str  # with the image inside


@dataclass(frozen=True)
class Download:
    """A file within the page."""

    name: str
    url: str


def render(template: str, **fields: Any) -> str:
    """Returns a page.

    Args:
        template: The name of a file in `templates`, without its ending.
        fields: What the template shows.
    """
    return ENVIRONMENT.get_template(f"{template}.html.j2").render(**fields)


def colour_of(cell: str) -> str:
    """Returns the class of a cell that is a word, or a number with a word behind it.

    Example:
        >>> colour_of("better"), colour_of("0.6000 worse"), colour_of("worse encoder")
        ('good', 'bad', '')
    """
    if cell in COLOURS:
        return COLOURS[cell]
    number, _, word = cell.partition(" ")
    return COLOURS.get(word, "") if number[:1].isdigit() else ""


def picture(name: str, image: Image.Image) -> Picture:
    """Returns an image as a thumbnail within the page.

    Args:
        name: What the page calls it.
        image: Of any size.
    """
    small = image.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    data = base64.b64encode(file.getvalue()).decode()
    return Picture(name, f"data:image/jpeg;base64,{data}")


def download(name: str, content: str, kind: str) -> Download:
    """Returns a file to download that lies within the page.

    Args:
        name: Of the file.
        content: Its text.
        kind: Its media type.
    """
    data = base64.b64encode(content.encode()).decode()
    return Download(name, f"data:{kind};base64,{data}")


def as_csv(tables: Sequence[Table]) -> str:
    """Returns tables as one CSV file, each below its heading."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    for table in tables:
        if table.heading:
            writer.writerow([as_cell(table.heading)])
        for row in table.rows:
            writer.writerow([as_cell(text) for text in row])
        writer.writerow([])
    return file.getvalue()


def as_cell(text: str) -> str:
    """Returns a text as a cell of a CSV file, in which no spreadsheet finds a formula.

    Names come from files that anybody may make, and a spreadsheet would run `=HYPERLINK(...)`.

    Example:
        >>> as_cell("=1+1"), as_cell("-0.5 to +0.5"), as_cell("-1+cmd"), as_cell("-")
        ("'=1+1", '-0.5 to +0.5', "'-1+cmd", '-')
    """
    return f"'{text}" if FORMULA.match(text) else text


def as_texts(facts: Mapping[str, Any]) -> dict[str, str]:
    """Returns what a page is made from as texts: other values than texts as JSON."""
    texts = {}
    for name, value in facts.items():
        if isinstance(value, str):
            texts[name] = value
        else:
            texts[name] = json.dumps(value)
    return texts


def readings_of(plot: Plot) -> str:
    """Returns what can be read off a plot, as the script of the page takes it."""
    return json.dumps([[each.place, each.text] for each in plot.readings], separators=(",", ":"))


def environment() -> Environment:
    """Returns what finds and renders the templates."""
    found = Environment(
        loader=PackageLoader("bct_keras.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters["colour"] = colour_of
    found.filters["svg"] = Markup
    found.filters["readings"] = readings_of
    return found


ENVIRONMENT = environment()
