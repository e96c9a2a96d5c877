import re
from pathlib import Path

import numpy as np
import pytest

from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.evaluate import page, report, series
from bct_keras.evaluate.protocol import adopted
from bct_keras.evaluate.protocols import PROTOCOLS
from bct_keras.evaluate.run import evaluate_series
from bct_keras.metrics import verdict
from bct_keras.metrics.influence import Influence
from bct_keras.metrics.measured import Measured
from bct_keras.metrics.verdict import Rule

# M(query's encoder, gallery's encoder): v2 gains in v1's gallery; v3 gains there, and loses in v2's
# own.
KNOWN = {(1, 1): 0.5, (2, 1): 0.6, (2, 2): 0.7, (3, 1): 0.55, (3, 2): 0.65, (3, 3): 0.9}


class Named(Encoder):
    def __init__(self, number: int, dims: int = 4):
        super().__init__(Path(f"v{number}"), 28, dims)
        self.number = number
        self.fingerprint = str(number)

    def embed(self, images: np.ndarray) -> np.ndarray:
        raise AssertionError("the known protocol needs no image")


class Known:
    """Reads the metric from the table above.

    100 people move every test alike, but v3's twice as much.
    """

    def embed(self, encoder):
        number = int(str(encoder.path)[1:])
        return number, number

    def measure(self, query, gallery) -> Measured:
        people = np.random.default_rng(0).normal(0, 0.004 * (2 if query == 3 else 1), 100)
        part = Influence(people - people.mean(), np.zeros(100), 0.01)
        return Measured({"top-1": KNOWN[query, gallery]}, lambda: {"top-1": part})


class Reported(Known):
    """Is the same as a protocol that a report names."""

    def __init__(self, cache=None):
        self.cache = cache

    def made_from(self):
        return "the table above"


@pytest.fixture
def encoders() -> list[Encoder]:
    return [Named(1), Named(2), Named(3)]


def test_the_triangle_and_its_average(encoders):
    found = series.findings(adopted(Known()), encoders, first_gallery_only=False)
    assert found["matrix"]["top-1"] == [[0.5], [0.6, 0.7], [0.55, 0.65, 0.9]]
    assert found["upgrades"]["above_old"]["top-1"] == [[], [True], [True, False]]
    # 2 / (3 * 2) * (1 + 1 + 0)
    assert found["average_compatibility"]["top-1"] == pytest.approx(2 / 3)


def test_each_candidate_has_a_verdict_of_its_own(encoders):
    results = {"known": series.findings(adopted(Known()), encoders, first_gallery_only=False)}
    found = series.judge(results, Rule())
    # v2's gain is 0.1 and moved by nobody; v3's are 0.05 and -0.05 with an error of about sqrt(100)
    # * 0.004 = 0.04.
    assert {name: verdict.word for name, verdict in found.items()} == {
        "2 v2": "compatible",
        "3 v3": "undecided",
    }
    assert results["known"]["upgrades"]["word"]["top-1"] == [[], ["better"], ["open", "open"]]
    whole = verdict.worst(list(found.values()))
    assert whole
    assert whole.word == "undecided"


def test_with_a_gallery_only_that_one_decides(encoders):
    results = {"known": series.findings(adopted(Known()), encoders, first_gallery_only=True)}
    found = series.judge(results, Rule())
    assert {name: verdict.word for name, verdict in found.items()} == {
        "2 v2": "compatible",
        "3 v3": "undecided",
    }
    assert results["known"]["upgrades"]["word"]["top-1"] == [[], ["better"], ["open", None]]
    assert results["known"]["matrix"]["top-1"] == [[0.5], [0.6, 0.7], [0.55, None, 0.9]]
    assert results["known"]["average_compatibility"]["top-1"] == 1


def test_with_a_gallery_the_others_need_not_fit_each_other():
    wider = Named(2, dims=8)
    wider.compatible_dims = 4
    results = {
        "known": series.findings(
            adopted(Known()), [Named(1), wider, Named(3)], first_gallery_only=True
        )
    }
    series.judge(results, Rule())
    rows = [
        line.split()
        for line in report.as_text({"verdict": None, "protocols": results}).splitlines()
    ]
    assert ["3", "v3", "0.5500", "open", "0.9000"] in rows


def test_the_matrix_is_in_text_and_page(encoders):
    results = {"known": series.findings(adopted(Known()), encoders, first_gallery_only=False)}
    verdicts = series.judge(results, Rule())
    candidates = {
        name: {"verdict": each.word, "because": each.because} for name, each in verdicts.items()
    }
    found = {"verdict": None, "candidates": candidates, "protocols": results, "made_from": {}}
    lines = report.as_text(found).splitlines()
    rows = [line.split() for line in lines]
    assert ["2", "v2", "0.6000", "better", "0.7000"] in rows
    assert ["3", "v3", "0.5500", "open", "0.6500", "open", "0.9000"] in rows
    assert (
        lines[-2]
        == "verdict on 2 v2: compatible: top-1 (+0.1000) is better, and none of 1 metrics is shown"
        " to be worse"
    )
    text = page.as_html(found)
    assert re.search('<td class="good" data-column="[^"]*">0.6000 better</td>', text)
    assert re.search('<td class="" data-column="[^"]*">0.6500 open</td>', text)
    assert "verdict on 2 v2: compatible" in text


def test_encoders_that_do_not_fit_are_named(encoders, tmp_path):
    with pytest.raises(InputError, match="v2 has 5 compatible dimensions and v1 4"):
        series.findings(adopted(Known()), [Named(1), Named(2, dims=5)], first_gallery_only=False)
    with pytest.raises(InputError, match="v1 and v1 are the same encoder"):
        evaluate_series([encoders[0], encoders[0]], ["retrieval(x)"], tmp_path / "out")
    with pytest.raises(InputError, match=r"^encoders needs two"):
        evaluate_series(encoders[:1], ["retrieval(x)"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_with_a_gallery_one_candidate_does_not_spoil_another(encoders, tmp_path, monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "known", Reported)
    monkeypatch.setitem(KNOWN, (2, 1), 0.4)  # v2 loses in the gallery
    monkeypatch.setitem(KNOWN, (3, 1), 0.8)
    found = evaluate_series(encoders, ["known"], tmp_path / "one", first_gallery_only=True)
    assert {name: each["verdict"] for name, each in found["candidates"].items()} == {
        "2 v2": "not compatible",
        "3 v3": "compatible",
    }
    assert found["verdict"] is None
    assert (
        '<h1 class="">A verdict on each candidate</h1>'
        in (tmp_path / "one/report.html").read_text()
    )
    whole = evaluate_series(encoders, ["known"], tmp_path / "all")
    assert whole["verdict"] == "not compatible"
