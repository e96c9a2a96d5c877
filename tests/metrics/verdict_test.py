import pytest

from bct_keras.errors import InputError
from bct_keras.metrics import verdict
from bct_keras.metrics.verdict import Gain, Rule, decide


def gain(
    name: str, value: float, error: float | None = 0.01, old: float = 0.5, units: int = 1001
) -> Gain:
    return Gain(name, old, old + value, error, units)


@pytest.mark.parametrize(
    ("share", "freedom", "expected"),
    # https://en.wikipedia.org/wiki/Student%27s_t-distribution#Table_of_selected_values
    [
        (0.975, 5, 2.571),
        (0.975, 10, 2.228),
        (0.975, 30, 2.042),
        (0.975, 100, 1.984),
        (0.95, 20, 1.725),
    ],
)
def test_students_t_is_the_tables(share, freedom, expected):
    assert verdict.t_quantile(share, freedom) == pytest.approx(expected, abs=4e-3)


def test_the_interval_is_so_many_errors_wide():
    low, high = gain("top-1", 0.03).interval() or (0, 0)
    assert (low, high) == pytest.approx((0.03 - 0.0196, 0.03 + 0.0196), abs=1e-4)


@pytest.mark.parametrize(
    ("value", "word"),
    # An interval of 0.0196 to both sides, and a margin of 0.01.
    [(0.03, "better"), (0.015, "no worse"), (0.005, "open"), (-0.015, "open"), (-0.03, "worse")],
)
def test_each_gain_has_a_word(value, word):
    assert gain("top-1", value).word(margin=0.01) == word


def test_the_margin_is_what_no_worse_means():
    assert gain("top-1", -0.015).word(margin=0.05) == "no worse"


def test_numbers_alone_show_nothing_but_a_loss():
    assert gain("top-1", 0.3, error=None).word(0.01) == "open"
    assert gain("top-1", -0.3, error=None).word(0.01) == "worse"
    lost = decide({"mine": [gain("top-1", -0.3, error=None)]}, Rule())
    assert lost
    assert lost.word == "not compatible"
    found = decide({"mine": [gain("top-1", 0.3, error=None)]}, Rule())
    assert found
    assert (found.word, found.units_needed) == ("undecided", None)


def test_compatible_is_better_by_what_decides_and_by_nothing_worse():
    found = decide(
        {"x": [gain("TAR@FAR=1e-3", 0.05), gain("TAR@FAR=1e-2", 0.0), gain("top-1", 0.05)]}, Rule()
    )
    assert found
    assert found.word == "compatible"
    assert (
        found.because
        == "TAR@FAR=1e-3 (+0.0500), top-1 (+0.0500) are better, and none of 3 metrics is shown to"
        " be worse"
    )


def test_one_that_is_shown_to_be_worse_is_enough():
    found = decide(
        {"x": [gain("TAR@FAR=1e-3", 0.05), gain("top-1", 0.05), gain("mAP", -0.05)]}, Rule()
    )
    assert found
    assert (
        found.sentence
        == "not compatible: mAP (-0.0500) is shown to be worse than the old encoder's own"
    )


def test_of_many_metrics_one_looks_worse_by_chance():
    # -0.022 at an error of 0.01 is outside the interval of a single metric (1.96) but not of ten
    # (2.81).
    assert gain("mAP", -0.022).word(0.01) == "worse"
    others = [gain(f"other {number}", 0.02) for number in range(7)]
    deciding = [gain("TAR@FAR=1e-3", 0.05), gain("top-1", 0.05)]
    found = decide({"x": [*deciding, gain("mAP", -0.022), *others]}, Rule())
    assert found
    assert found.word == "compatible"


def test_undecided_says_how_many_people_would_tell():
    # (1.96 + 0.84)^2 * (0.01 / 0.01)^2 * 1001 identities
    found = decide({"x": [gain("TAR@FAR=1e-4", 0.01), gain("top-1", 0.05)]}, Rule())
    assert found
    assert (found.word, found.units_needed) == ("undecided", 7900)
    assert (
        found.because
        == "TAR@FAR=1e-4 (+0.0100) is not shown to be better; about 7,900 identities would tell"
    )


def test_what_can_never_be_told_is_said():
    found = decide({"x": [gain("top-1", 0.0)]}, Rule())
    assert found
    assert (
        found.because
        == "top-1 (+0.0000) is not shown to be better, and no number of identities would tell"
    )


def test_where_neither_is_ever_wrong_none_can_be_better():
    perfect = Gain("top-1", 1.0, 1.0, 0.001, 100)
    assert perfect.word(0.0) == "no worse"
    found = decide({"x": [gain("TAR@FAR=1e-3", 0.05), perfect]}, Rule())
    assert found
    assert found.word == "compatible"


def test_the_lowest_rate_and_top_1_decide_by_default():
    names = ["TAR@FAR=1e-2", "TAR@FAR=1e-4", "TAR@FAR=1e-3", "top-1", "top-5", "mAP"]
    assert verdict.default_metrics(names) == ["TAR@FAR=1e-4", "top-1"]
    assert verdict.default_metrics(["accuracy", "TAR@FAR=1e-2"]) == ["TAR@FAR=1e-2", "accuracy"]
    assert verdict.default_metrics(["of mine"]) == ["of mine"]


def test_other_metrics_decide_if_they_are_named():
    gains = {"x": [gain("TAR@FAR=1e-4", 0.0), gain("TAR@FAR=1e-2", 0.05), gain("top-1", 0.0)]}
    found = decide(gains, Rule(decide_by=("TAR@FAR=1e-2",)))
    assert found
    assert found.word == "compatible"
    with pytest.raises(InputError, match=r"^decide_by=top-3 is not measured; known: top-1, mAP"):
        verdict.check_rule(Rule(("top-3",)), ["top-1", "mAP", "top-1"])


def test_every_protocol_decides():
    gains = {"a": [gain("top-1 of a", 0.05)], "b": [gain("top-1 of b", 0.001)]}
    found = decide(gains, Rule())
    assert found
    assert found.because.startswith("top-1 of b (+0.0010) is not shown to be better")


def test_there_is_no_verdict_without_a_cross_test():
    assert decide({}, Rule()) is None
    assert list(verdict.gains_of({"new/new": {"top-1": 0.5}})) == []


def test_a_rate_that_the_data_are_too_few_for_does_not_decide():
    result = {
        "old/old": {"TAR@FAR=1e-6": 0.2, "TAR@FAR=1e-5": 0.3},
        "new/old": {"TAR@FAR=1e-6": 0.2, "TAR@FAR=1e-5": 0.5},
        "gain": {"TAR@FAR=1e-6": 0.0, "TAR@FAR=1e-5": 0.2},
        "error": {"TAR@FAR=1e-6": 0.1, "TAR@FAR=1e-5": 0.01},
        "units": {"count": 100, "name": "identities"},
    }
    words = []
    for unresolved in ([], ["TAR@FAR=1e-6"]):
        found = decide({"x": list(verdict.gains_of(result | {"unresolved": unresolved}))}, Rule())
        words.append(found.word if found else None)
    assert words == ["undecided", "compatible"]


@pytest.mark.parametrize(("value", "worse"), [(-0.02, True), (-0.005, False), (0.01, False)])
def test_undecided_says_whether_it_looks_worse(value, worse):
    found = decide({"mine": [gain("top-1", value, error=0.02)]}, Rule())
    assert found
    assert (found.word, found.looks_worse) == ("undecided", worse)
    assert ("it looks worse" in found.sentence) == worse
