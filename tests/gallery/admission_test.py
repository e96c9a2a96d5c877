import json

import pytest

from bct_keras.errors import InputError
from bct_keras.gallery.admission import read_report


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


def test_a_compatible_report_lets_new_queries_into_old_entries(written):
    folder = written(report(0.6))
    found = read_report(folder)
    assert (found.query, found.gallery, found.finding) == ("1" * 64, "0" * 64, "compatible")
    assert read_report(f"{folder}/report.json") == found


def test_the_report_itself_is_remembered(written):
    assert read_report(written(report(0.6))).report != read_report(written(report(0.7))).report


def test_a_report_that_found_them_not_compatible_is_refused(written):
    with pytest.raises(InputError, match=r"says: not compatible: top-1 says so; .*\n.*max_loss"):
        read_report(written(report(0.4)))


def test_an_undecided_report_is_remembered_as_such_or_refused(written):
    assert read_report(written(report(0.49))).finding == "undecided: top-1 says so"
    with pytest.raises(InputError, match="says: undecided: top-1 says so"):
        read_report(written(report(0.49)), strict=True)


@pytest.mark.parametrize("verdict", [None, "compatible (or so)", ["compatible"], 1])
def test_another_word_lets_nothing_in(written, verdict):
    with pytest.raises(InputError, match="a gallery does not take such queries"):
        read_report(written(report(0.6, verdict=verdict)))


def test_a_loss_that_was_accepted_beforehand_is_taken(written):
    # (0.5 - 0.496) / 0.5 = 0.8 %
    found = read_report(written(report(0.496)), max_loss=0.01)
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


def test_a_missing_report_is_told(tmp_path):
    with pytest.raises(InputError, match="no such report"):
        read_report(tmp_path / "report.json")
