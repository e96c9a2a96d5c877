"""Pages: every text is escaped, and nothing comes from elsewhere."""

import csv
import doctest
import io
import re

import jinja2
import pytest
from PIL import Image

from bct_keras.pages import document
from bct_keras.pages.document import Plot, Table

FIELDS = {
    "title": "No cell <b>&",
    "setting": "<script>alert(1)</script>",
    "sections": [],
    "plots": [],
    "made_from": {"<i>": "\"'<u>"},
}


def test_the_examples_run():
    found = doctest.testmod(document)
    assert (found.attempted, found.failed) == (2, 0)


def test_no_cell_of_a_csv_file_is_a_formula_to_a_spreadsheet():
    hostile = ['=HYPERLINK("x")', "@x", "+1+cmd|' /C calc'!A0", "-x", "\t=1"]
    rows = [hostile, ["+0.0678 to +0.1830", "-1.5e-03", "-", "4,554", "a=b", ""]]
    text = document.as_csv([Table("=1", rows)])
    heading, first, second, _ = csv.reader(io.StringIO(text, newline=""))
    assert heading == ["'=1"]
    assert first == [f"'{cell}" for cell in hostile]
    assert second == rows[1]


def test_every_text_is_escaped():
    table = Table("a <b>", [["<th>", "x"], ["<td>", "better"]])
    section = {"heading": table.heading, "text": "<p>", "rows": table.rows}
    text = document.render("benchmark", **FIELDS | {"sections": [section]})
    assert "<title>No cell &lt;b&gt;&amp; - bct_keras</title>" in text
    assert "<p>&lt;p&gt;</p>" in text
    assert '<th scope="row" class="">&lt;td&gt;</th>' in text
    assert '<td class="good" data-column="x">better</td>' in text
    assert "<dt>&lt;i&gt;</dt><dd><code>&#34;&#39;&lt;u&gt;</code></dd>" in text
    assert not re.search("<(script|i|u|b)>", text)


def test_a_plot_goes_in_as_it_is_and_its_caption_escaped():
    section = {"heading": "h", "text": "t", "rows": [["a"], ["b"]]}
    plot = Plot("<caption>", "<svg><g/></svg>")
    text = document.render("benchmark", **FIELDS | {"sections": [section], "plots": [plot]})
    assert "<figure><svg><g/></svg><figcaption>&lt;caption&gt;</figcaption></figure>" in text


def test_a_field_that_is_missing_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="setting"):
        document.render(
            "benchmark", **{name: value for name, value in FIELDS.items() if name != "setting"}
        )


def test_a_picture_is_a_thumbnail_within_the_page():
    found = document.picture("a.png", Image.new("RGBA", (600, 300)))
    assert found.url.startswith("data:image/jpeg;base64,/9j/")
    assert len(found.url) < 4000
