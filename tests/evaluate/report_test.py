import base64
import csv
import html
import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image

from bct_keras.encoders import load_encoder
from bct_keras.errors import InputError
from bct_keras.evaluate import curve_tables, page, report, words
from bct_keras.evaluate.run import evaluate
from bct_keras.pages.document import Plot, Reading
from bct_keras.prepare.run import prepare

TESTS = ["old/old", "new/old", "new/new"]


def known_report(
    verdict: str | None = "compatible", name: str = "retrieval(data)"
) -> dict[str, Any]:
    result = {
        "old/old": {"top-1": 0.5},
        "new/old": {"top-1": 0.75},
        "new/new": {"top-1": 0.875},
        "gain": {"top-1": 0.25},
        "above_old": {"top-1": True},
        "interval": {"top-1": [0.125, 0.375]},
        "word": {"top-1": "better"},
    }
    return {
        "version": "0",
        "verdict": verdict,
        "because": "top-1 is better",
        "protocols": {name: result},
        "made_from": {"old encoder": "old.keras"},
    }


class Headings(HTMLParser):
    """Collects the text of each heading, and the tags that were left open."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.found = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2"):
            self.found.append((self.open[-1], data))


@pytest.fixture
def encoders(tiny_encoder_path) -> dict[str, Any]:
    return {name: load_encoder(tiny_encoder_path(8)) for name in ("old", "new")}


def test_report_has_all_tests_with_the_same_metrics(encoders, data_root, tmp_path):
    spec = f"retrieval({data_root / 'test'})"
    found = evaluate(encoders["old"], encoders["new"], [spec], tmp_path / "report")
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == found
    result = found["protocols"][spec]
    assert list(result)[:5] == [*TESTS, "gain", "above_old"]
    metrics = list(result["old/old"])
    assert "top-1" in metrics
    for part in (*TESTS, "gain", "above_old", "interval", "error", "word"):
        assert sorted(result[part]) == sorted(metrics)
    for metric in metrics:
        assert result["gain"][metric] == result["new/old"][metric] - result["old/old"][metric]
        assert result["above_old"][metric] is (result["gain"][metric] > 0)


@pytest.fixture(scope="module")
def enough(tmp_path_factory) -> str:
    """Returns 36 queries in a gallery of 36.

    Of 1,188 impostor pairs FAR 1e-2 accepts ten, so that it is measured.
    """
    folder = tmp_path_factory.mktemp("enough") / "data"
    prepare("synthetic(identities=12, images=6, image_size=28)", "none", folder)
    return f"retrieval({folder})"


def test_a_collapsed_encoder_is_told_in_the_json_the_text_and_the_page(
    encoders, data_root, tmp_path
):
    spec = f"retrieval({data_root / 'test'})"
    found = evaluate(encoders["old"], None, [spec], tmp_path / "report")
    note, *_ = json.loads((tmp_path / "report" / "report.json").read_text())["protocols"][spec][
        "notes"
    ]
    assert re.match(
        rf"warning: {encoders['old'].path} seems to have collapsed: \d+ of 24 images ", note
    )
    assert f"\n  {note}\n" in f"{report.as_text(found)}\n"
    assert f"<p>{note}</p>" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize(("given", "test"), [("old", "old/old"), ("new", "new/new")])
def test_one_encoder_alone_gives_its_self_test(encoders, enough, tmp_path, given, test):
    spec = enough
    only = {name: encoder if name == given else None for name, encoder in encoders.items()}
    found = evaluate(only["old"], only["new"], [spec], tmp_path / "report")
    # The mean colour tells few people apart, which a note says.
    assert list(found["protocols"][spec]) == [
        test,
        "thresholds",
        "equal_error",
        "curves",
        "notes",
        "counts",
    ]
    assert found["verdict"] is None
    assert "verdict" not in report.as_text(found)
    assert Headings(page.as_html(found)).found[0] == ("h1", "Self-test")


def test_encoders_of_other_dimensions_leave_no_report(tiny_encoder_path, data_root, tmp_path):
    old, new = load_encoder(tiny_encoder_path(8)), load_encoder(tiny_encoder_path(4))
    with pytest.raises(InputError, match=r"has 4 compatible dimensions and .* 8"):
        evaluate(old, new, [f"retrieval({data_root / 'test'})"], tmp_path / "report")
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_made_once(encoders, data_root, tmp_path):
    given = (
        encoders["old"],
        encoders["new"],
        [f"retrieval({data_root / 'test'})"],
        tmp_path / "report",
    )
    found = evaluate(*given)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "report").iterdir()}
    assert evaluate(*given) == found
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "report").iterdir()} == files


def test_page_needs_nothing_from_elsewhere():
    text = page.as_html(known_report())
    # Files to download lie within; the one script is our own and fetches nothing.
    text = re.sub(r'href="data:text/csv;base64,[A-Za-z0-9+/=]*"', "", text)
    assert not re.search(r"https?:|\bsrc\s*=|\bhref\s*=|url\(|@import", text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert not re.search(r"fetch|XMLHttp|import|Worker|Image|innerHTML", script)


def test_the_first_screen_says_what_is_compared_and_what_to_do():
    given = known_report() | {
        "date": "2026-11-27",
        "encoders": {
            "old": {"name": "runs/old", "dims": 128, "date": "2025-01-02"},
            "new": {"name": "runs/new", "dims": 256},
        },
        "made_from": {"--old": "runs/old", "--new": "runs/new"},
    }
    result = given["protocols"]["retrieval(data)"]
    result["counts"] = {"identities": 1060, "queries": 10600}
    text = page.as_html(given)
    first = text[text.index("<header") : text.index("</header>")]
    for part in (
        "Compatible: queries of the new encoder can be searched in the old gallery",
        "Top-1 is better.",
        "runs/old (128 dimensions, file of 2025-01-02)",
        "runs/new (256 dimensions)",
        "1,060 identities, 10,600 queries",
        "new queries as they are (new/old)",
        "bct gallery add",
        "--encoder=runs/old",
    ):
        assert part in first


def test_the_numbers_can_be_downloaded():
    text = page.as_html(known_report())
    (coded,) = re.findall(r'download="tables.csv" href="data:text/csv;base64,([^"]*)"', text)
    rows = list(csv.reader(io.StringIO(base64.b64decode(coded).decode())))
    assert ["metric", *TESTS, "gain", "95 % interval", "word", "above old"] in rows
    assert ["top-1", "0.5000", "0.7500", "0.8750", "+0.2500", "+0.1250 to +0.3750"] in [
        row[:6] for row in rows
    ]


def test_the_curves_can_be_downloaded():
    result = {"hot_refresh": {"share": [0.0, 1.0], "metrics": {"top-1": [0.5, 0.75]}}}
    (table,) = curve_tables.of("retrieval(data)", result)
    assert table.heading == "retrieval(data): hot refresh"
    assert table.rows == [["share", "top-1"], ["0", "0.5"], ["1", "0.75"]]


def test_whole_page_has_its_plots_and_faces_inside(encoders, enough, tmp_path):
    evaluate(encoders["old"], encoders["new"], [enough], tmp_path / "report")
    text = (tmp_path / "report" / "report.html").read_text()
    drawn = ["roc", "det", "scores_old_old", "scores_new_old", "hot_refresh"]
    assert text.count("<svg") == len(drawn)
    assert "mathdefault" not in text  # labels are numbers, not formulas that nothing sets
    for part in ("Thresholds: a match is a cosine above", "<dt>threshold</dt>", "<dt>flips</dt>"):
        assert part in text
    for name in drawn:
        with Image.open(tmp_path / "report" / f"1_{name}.png") as png:
            assert min(png.size) > 300
    for place in re.findall(r"""(?:src|href)=["']([^"']*)|url\(([^)]*)""", text):
        assert "".join(place).startswith(("data:", "#"))
    assert not re.search(r"https?:|@import", text)
    assert len(text) < 400_000
    assert "Hot refresh" in text[text.index("<svg") : text.index("</header>")]
    readings = re.findall(r'data-readings="([^"]*)"', text)
    assert len(readings) == len(drawn)
    places = [place for place, _ in json.loads(html.unescape(readings[0]))]
    assert len(places) == 11
    assert places == sorted(places)
    assert 0 < places[0] < places[-1] < 1
    names = re.findall(r'\bid="([^"]+)"', text)
    assert names
    assert len(names) == len(set(names))


def test_page_explains_the_metrics_it_has():
    text = page.as_html(known_report())
    assert "<dt>top-k</dt>" in text
    assert "<dt>mAP</dt>" not in text


def test_every_metric_of_a_report_is_explained(encoders, data_root, tmp_path):
    found = evaluate(
        encoders["old"], encoders["new"], [f"retrieval({data_root / 'test'})"], tmp_path / "report"
    )
    (result,) = found["protocols"].values()
    assert all(
        any(words.is_a(metric, word) for word in words.METRICS) for metric in result["old/old"]
    )


def test_flips_have_faces():
    result = known_report()["protocols"]["retrieval(data)"]
    example = {"kind": "negative", "query": "a/1", "found": "b/2"}
    result["flips"] = {"negative": 0.125, "positive": 0.25, "examples": [example]}
    pictures = {"retrieval(data)": {name: Image.new("RGB", (200, 300)) for name in ("a/1", "b/2")}}
    text = page.as_html(known_report() | {"protocols": {"retrieval(data)": result}}, None, pictures)
    assert "Negative flips: 12.5 % of the queries" in text
    assert text.count('src="data:image/jpeg;base64,') == 2
    assert "a/1 taken for b/2" in text


def test_page_has_the_verdict_first_and_whole_tags():
    headings = Headings(page.as_html(known_report("undecided")))
    assert headings.found[0] == ("h1", "Undecided: these identities are too few to tell")
    assert headings.open == []


def test_what_looks_worse_is_told_so_in_the_heading_and_on_the_terminal():
    reason = "top-1 (-0.2500) is not shown to be better"
    given = known_report("undecided") | {"because": reason, "looks_worse": True}
    text = page.as_html(given)
    heading = "Undecided, and it looks worse so far: these identities are too few to tell"
    assert f'<h1 class="doubt">{heading}</h1>' in text
    assert '<p class="lead">Top-1 (-0.2500) is not shown to be better.</p>' in text
    said = report.as_text(given).splitlines()[-1]
    assert said.startswith("verdict: undecided, and it looks worse so far: top-1 (-0.2500) is not")


def test_the_page_says_why_a_row_may_say_worse_and_the_verdict_not():
    text = " ".join(page.as_html(known_report("not compatible")).split())
    assert "a loss makes the verdict only where a wider interval, the wider the more" in text


@pytest.mark.parametrize(("mapped", "note"), [(0.8, "bct adapt fits"), (0.7, "gain nothing")])
def test_the_page_says_what_a_map_without_training_means(mapped, note):
    given = known_report()
    result = given["protocols"]["retrieval(data)"]
    result["baselines"] = {"encoder": "new", "procrustes": {"top-1": mapped}}
    result["order"] = {"own new nearer than another's old": 0.875}
    text = html.unescape(page.as_html(given))
    assert re.search(f'<p class="note">[^<]*{note}', text)
    assert "own image by new nearer than another's by old" in text


def test_a_reading_stands_below_the_caption():
    plot = Plot("ROC: c", "<svg></svg>", (Reading(0.5, "here"),))
    text = page.as_html(known_report(), {"retrieval(data)": [plot]})
    assert "<figcaption>ROC: c</figcaption><output" in text


def test_page_escapes_names():
    name = "retrieval(<b onclick='x'>&\")"
    given = known_report(name=name) | {"made_from": {"<i>": "<u>&"}}
    text = page.as_html(given)
    assert ("h2", name) in Headings(text).found
    assert not re.search("<[biu][ >]", text)


def test_text_has_a_row_for_each_metric_and_the_verdict():
    heading, columns, row, verdict = report.as_text(known_report()).splitlines()
    assert heading == "retrieval(data)"
    assert columns.split() == [
        "metric",
        *TESTS,
        "gain",
        "95",
        "%",
        "interval",
        "word",
        "above",
        "old",
    ]
    numbers = ["0.5000", "0.7500", "0.8750", "+0.2500", "+0.1250", "to", "+0.3750"]
    assert row.split() == ["top-1", *numbers, "better", "yes"]
    assert verdict == "verdict: compatible: top-1 is better"
    assert len(columns) == len(row)


@pytest.mark.parametrize(
    ("word", "colour"), [("better", "good"), ("worse", "bad"), ("open", ""), ("no worse", "")]
)
def test_a_loss_is_told_from_what_may_be_chance(word, colour):
    given = known_report()
    given["protocols"]["retrieval(data)"]["word"]["top-1"] = word
    assert f'<td class="{colour}" data-column="word">{word}</td>' in page.as_html(given)


def test_page_has_the_numbers_of_the_table():
    text = page.as_html(known_report())
    for cell in ("0.5000", "0.7500", "0.8750", "+0.2500", "better", "yes"):
        assert f">{cell}</td>" in text
