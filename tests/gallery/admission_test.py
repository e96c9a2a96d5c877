import json
from typing import Any

import numpy as np
import pytest

from bct_keras.errors import InputError
from bct_keras.gallery.admission import read_report
from bct_keras.gallery.facts import BY_COMPATIBLE, BY_EMBEDDING, Compatibility
from bct_keras.metrics.odds import Odds


def report(cross: float, own: float = 0.5, **changes) -> dict:
    """Returns a report as evaluate writes it.

    The keys are those that tests/gallery/command_test.py gets from evaluate itself.
    """
    tests = {"old/old": {"top-1": own, "top-5": 0.9}, "new/old": {"top-1": cross, "top-5": 0.95}}
    verdict = (
        "compatible" if cross > own else "not compatible" if cross < own - 0.05 else "undecided"
    )
    made_from = {"old": "0" * 64, "new": "1" * 64, "old encoder": "runs/old"}
    return {
        "verdict": verdict,
        "because": "top-1 says so",
        "protocols": {"retrieval(x)": tests},
        "made_from": made_from,
    } | changes


@pytest.fixture
def written(tmp_path):
    def write(content) -> str:
        (tmp_path / "report.json").write_text(
            content if isinstance(content, str) else json.dumps(content)
        )
        return str(tmp_path)

    return write


def only(folder: str, **options) -> Compatibility:
    """Returns the one thing that a report lets in."""
    (found,) = read_report(folder, **options).compatible
    return found


def test_a_compatible_report_lets_new_queries_into_old_entries(written):
    folder = written(report(0.6))
    found = only(folder)
    assert (found.query, found.gallery, found.finding) == ("1" * 64, "0" * 64, "compatible")
    assert only(f"{folder}/report.json") == found


def test_the_report_itself_is_remembered(written):
    assert only(written(report(0.6))).report != only(written(report(0.7))).report


def test_a_report_that_found_them_not_compatible_is_refused(written):
    with pytest.raises(InputError, match=r"says: not compatible: top-1 says so; .*\n.*max_loss"):
        read_report(written(report(0.4)))


def test_an_undecided_report_is_remembered_as_such_or_refused(written):
    assert only(written(report(0.49))).finding == "undecided: top-1 says so"
    with pytest.raises(InputError, match="says: undecided: top-1 says so"):
        read_report(written(report(0.49)), strict=True)


@pytest.mark.parametrize("verdict", [None, "compatible (or so)", ["compatible"], 1])
def test_another_word_lets_nothing_in(written, verdict):
    with pytest.raises(InputError, match="a gallery does not take such queries"):
        read_report(written(report(0.6, verdict=verdict)))


def test_a_loss_that_was_accepted_beforehand_is_taken(written):
    # (0.5 - 0.496) / 0.5 = 0.8 %
    found = only(written(report(0.496)), max_loss=0.01)
    assert found.finding == "loses at most 0.80% (top-1 of retrieval(x))"


@pytest.mark.parametrize(("cross", "own"), [(0.494, 0.5), (float("nan"), 0.5), (-0.1, 0.0)])
def test_a_larger_loss_is_refused(written, cross, own):
    with pytest.raises(
        InputError, match=r"top-1 of retrieval\(x\) loses .* more than max_loss=0.01"
    ):
        read_report(written(report(cross, own)), max_loss=0.01)


def test_a_self_test_says_nothing_of_two_encoders(written):
    with pytest.raises(InputError, match="self-test of one encoder"):
        read_report(written(report(0.6, made_from={"new": "1" * 64})))


def test_a_report_without_a_metric_says_nothing(written):
    with pytest.raises(InputError, match="holds no metric"):
        read_report(written(report(0.6, verdict=None, protocols={})), max_loss=0.01)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "no json", '{"made_from": [], "protocols": {}}']
)
def test_what_is_no_report_is_refused(written, content):
    with pytest.raises(InputError, match="is no report of evaluate"):
        read_report(written(content))


def calibration(of: float) -> dict:
    """Returns what cosines stand for, as a report holds it: pairs of one identity reach `of`."""
    return Odds.of_pairs(np.linspace(0.0, of, 99), np.linspace(-1.0, 0.4, 99)).facts()


def with_routes(cross: float = 0.6, **verdicts: str) -> dict:
    """Returns a report that has measured other routes too."""
    found = report(cross)
    (result,) = found["protocols"].values()
    result["calibration"] = {"new/old": calibration(0.7), "new/new": calibration(0.9)}
    found["routes"] = {}
    for name, verdict in verdicts.items():
        test = "new/moved" if name == "moved" else f"{name}/old"
        result[test] = {"top-1": 0.55, "top-5": 0.9}
        result["calibration"][test] = calibration(0.8)
        query, gallery = (1, 7) if name == "moved" else (5, 0)
        found["routes"][name] = {
            "query": f"{query}" * 64,
            "gallery": f"{gallery}" * 64,
            "verdict": verdict,
            "because": "top-1 of a route",
        }
    return found


def test_each_route_is_let_in_by_its_own_verdict_with_what_its_cosines_stand_for(written):
    folder = written(with_routes(moved="compatible", fused="undecided", adapted="not compatible"))
    found = read_report(folder)
    facts = {(each.query[0], each.gallery[0]): each for each in found.compatible}
    assert facts.keys() == {("1", "0"), ("1", "7"), ("5", "0"), ("1", "1")}
    assert facts["1", "0"].by == facts["5", "0"].by == BY_COMPATIBLE
    assert facts["1", "7"].by == facts["1", "1"].by == BY_EMBEDDING
    assert facts["5", "0"].finding == "undecided: top-1 of a route"
    assert facts["1", "0"].calibration == calibration(0.7)
    assert facts["1", "7"].calibration == calibration(0.8)
    assert facts["1", "1"].calibration == calibration(0.9)
    (refused,) = found.refused
    assert "says on adapted/old: not compatible: top-1 of a route" in refused
    assert len(read_report(folder, strict=True).refused) == 2


def test_a_route_is_let_in_where_the_new_encoder_alone_is_not(written):
    found = read_report(written(with_routes(cross=0.1, moved="compatible")))
    assert [each.gallery[0] for each in found.compatible] == ["7", "1"]
    with pytest.raises(InputError, match="says: not compatible"):
        read_report(written(with_routes(cross=0.1, moved="not compatible")))


def test_a_report_on_other_dimensions_has_its_routes_alone(written):
    found: dict[str, Any] = with_routes(moved="compatible") | {"verdict": None}
    del found["protocols"]["retrieval(x)"]["new/old"]
    assert [each.gallery[0] for each in read_report(written(found)).compatible] == ["7", "1"]


def test_a_calibration_that_is_none_is_told(written):
    found = with_routes(moved="compatible")
    found["protocols"]["retrieval(x)"]["calibration"]["new/old"] = {"cosines": "all"}
    with pytest.raises(InputError, match="is no report of evaluate: a calibration needs"):
        read_report(written(found))


def test_a_missing_report_is_told(tmp_path):
    with pytest.raises(InputError, match="no such report"):
        read_report(tmp_path / "report.json")
