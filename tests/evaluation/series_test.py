from pathlib import Path

import numpy as np
import pytest

from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.evaluate import evaluate_series
from bct_keras.evaluation import PROTOCOLS, compatibility, gains, page, report, series
from bct_keras.evaluation.measured import Measured

# M(query's encoder, gallery's encoder): v2 gains in v1's gallery; v3 gains there, and loses in v2's own.
KNOWN = {(1, 1): 0.5, (2, 1): 0.6, (2, 2): 0.7, (3, 1): 0.55, (3, 2): 0.65, (3, 3): 0.9}


class Named(Encoder):
    def __init__(self, number: int, dims: int = 4):
        super().__init__(Path(f"v{number}"), 28, dims)
        self.number = number
        self.fingerprint = str(number)

    def embed(self, images: np.ndarray) -> np.ndarray:
        raise AssertionError("the known protocol needs no image")


class Known:
    """The metric is read from the table above; each draw is off by up to 0.06, in every test alike but v3's."""

    def embed(self, encoder):
        number = int(str(encoder.path)[1:])
        return number, number

    def measure(self, query, gallery) -> Measured:
        value = KNOWN[query, gallery]
        noise = np.linspace(-0.06, 0.06, 500) * (2 if query == 3 else 1)
        return Measured({"top-1": value}, lambda draws, seed: {"top-1": value + noise})


class Reported(Known):
    """The same as a protocol that a report names."""

    def __init__(self, cache=None):
        self.cache = cache

    def made_from(self):
        return "the table above"


@pytest.fixture
def encoders() -> list[Encoder]:
    return [Named(1), Named(2), Named(3)]


def test_the_triangle_and_its_average(encoders):
    found = series.findings(Known(), encoders, first_gallery_only=False)
    assert found["matrix"]["top-1"] == [[0.5], [0.6, 0.7], [0.55, 0.65, 0.9]]
    assert found["upgrades"]["compatible"]["top-1"] == [[], [True], [True, False]]
    # 2 / (3 * 2) * (1 + 1 + 0)
    assert found["average_compatibility"]["top-1"] == pytest.approx(2 / 3)
    assert found["compatible"] == {"top-1": False}
    assert compatibility.verdict({"known": found}) == (
        "not compatible (1 of 1 metrics are not above the gallery's own encoder)"
    )


def test_with_a_gallery_only_that_one_decides(encoders):
    found = series.findings(Known(), encoders, first_gallery_only=True)
    assert compatibility.verdict({"known": found}) == "compatible"
    # v3 gains 0.05 in v1's gallery, from -0.01 to 0.11 over the draws.
    assert found["upgrades"]["shown"]["top-1"] == [[], [True], [False, None]]
    assert found["matrix"]["top-1"] == [[0.5], [0.6, 0.7], [0.55, None, 0.9]]
    assert found["average_compatibility"]["top-1"] == 1
    assert gains.sentence([found]) == "shown on 0 of 1 metrics (95 % interval above 0)"


def test_with_a_gallery_the_others_need_not_fit_each_other():
    wider = Named(2, dims=8)
    wider.compatible_dims = 4
    found = series.findings(Known(), [Named(1), wider, Named(3)], first_gallery_only=True)
    rows = [line.split() for line in report.as_text({"verdict": None, "protocols": {"known": found}}).splitlines()]
    assert ["3", "v3", "0.5500", "not", "shown", "0.9000"] in rows


def test_each_candidate_has_a_verdict_of_its_own(encoders, tmp_path, monkeypatch):
    """v2 fits in v1's gallery and v3 too, but v3 loses in v2's."""
    monkeypatch.setitem(PROTOCOLS, "known", Reported)
    found = evaluate_series(encoders, ["known"], tmp_path / "all")
    assert {name: one["verdict"] for name, one in found["verdicts"].items()} == {
        "v2": "compatible",
        "v3": "not compatible (1 of 2 metrics are not above old/old)",
    }
    assert found["verdict"] == "v2: compatible; v3: not compatible (1 of 2 metrics are not above old/old)"
    assert report.as_text(found).splitlines()[-2:] == [
        "verdict on v2: compatible; shown on 1 of 1 metrics (95 % interval above 0)",
        "verdict on v3: not compatible (1 of 2 metrics are not above old/old); shown on 0 of 2 metrics (95 % interval "
        "above 0)",
    ]
    assert '<h1 class="bad">V2: compatible; v3: not compatible' in (tmp_path / "all/report.html").read_text()


def test_with_a_gallery_one_candidate_does_not_spoil_another(encoders, tmp_path, monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "known", Reported)
    monkeypatch.setitem(KNOWN, (2, 1), 0.4)  # v2 loses in the gallery, v3 gains
    found = evaluate_series(encoders, ["known"], tmp_path / "one", first_gallery_only=True)
    assert {name: one["verdict"] for name, one in found["verdicts"].items()} == {
        "v2": "not compatible (1 of 1 metrics are not above old/old)",
        "v3": "compatible",
    }
    monkeypatch.setitem(KNOWN, (2, 1), 0.6)
    assert evaluate_series(encoders, ["known"], tmp_path / "two", first_gallery_only=True)["verdict"] == "compatible"


def test_a_candidate_is_judged_as_an_upgrade_by_itself(encoders):
    found = series.findings(Known(), encoders, first_gallery_only=False)
    alone = compatibility.findings(Known(), encoders[0], encoders[2])
    pair = series.candidates({"known": found})["v3"]["known in the gallery of v1"]
    assert pair == {key: alone[key] for key in pair}
    assert set(pair) == {"old/old", "new/old", "new/new", "gain", "compatible", "interval", "shown"}


def test_the_matrix_is_in_text_and_page(encoders):
    result = series.findings(Known(), encoders, first_gallery_only=False)
    found = {"verdict": "compatible", "protocols": {"known": result}, "made_from": {}}
    rows = [line.split() for line in report.as_text(found).splitlines()]
    assert ["2", "v2", "0.6000", "yes", "0.7000"] in rows
    assert ["3", "v3", "0.5500", "not", "shown", "0.6500", "NO", "0.9000"] in rows
    text = page.as_html(found)
    assert '<td class="good">0.6000 yes</td>' in text
    assert '<td class="bad">0.6500 NO</td>' in text


def test_encoders_that_do_not_fit_are_named(encoders, tmp_path):
    with pytest.raises(InputError, match="v2 has 5 compatible dimensions and v1 4"):
        series.findings(Known(), [Named(1), Named(2, dims=5)], first_gallery_only=False)
    with pytest.raises(InputError, match="v1 and v1 are the same encoder"):
        evaluate_series([encoders[0], encoders[0]], ["retrieval(x)"], tmp_path / "out")
    with pytest.raises(InputError, match="--encoders needs two"):
        evaluate_series(encoders[:1], ["retrieval(x)"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
