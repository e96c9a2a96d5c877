from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.evaluate import compatibility
from bct_keras.evaluate.protocol import adopted
from bct_keras.metrics.verdict import Rule


class NamedEncoder(Encoder):
    def __init__(self, name: str, dims: int = 4):
        super().__init__(Path(f"{name}.keras"), 28, dims)

    def embed(self, images: np.ndarray) -> np.ndarray:
        raise AssertionError("no images here")


class KnownNumbers:
    """Is a protocol that looks its measurements up."""

    def __init__(self, numbers: dict[str, dict[str, float]]):
        self.numbers = numbers

    def embed(self, encoder: Encoder) -> tuple[str, str]:
        return encoder.path.stem, encoder.path.stem

    def measure(self, query: str, gallery: str) -> dict[str, float]:
        return self.numbers[f"{query}/{gallery}"]


OLD, NEW = NamedEncoder("old"), NamedEncoder("new")
NUMBERS = {
    "old/old": {"better": 0.5, "equal": 0.5, "worse": 0.5},
    "new/old": {"better": 0.75, "equal": 0.5, "worse": 0.25},
    "new/new": {"better": 1.0, "equal": 1.0, "worse": 1.0},
}


def result_of(old: Encoder | None, new: Encoder | None) -> dict[str, Any]:
    return compatibility.self_and_cross_tests(adopted(KnownNumbers(NUMBERS)), old, new)


def test_both_encoders_give_all_tests_with_the_same_metrics():
    result = result_of(OLD, NEW)
    assert {name: result[name] for name in NUMBERS} == NUMBERS
    assert result["gain"] == {"better": 0.25, "equal": 0.0, "worse": -0.25}


def test_the_papers_condition_is_strictly_above_the_old_encoder():
    assert result_of(OLD, NEW)["above_old"] == {"better": True, "equal": False, "worse": False}


@pytest.mark.parametrize(("old", "new", "name"), [(OLD, None, "old/old"), (None, NEW, "new/new")])
def test_one_encoder_alone_gives_its_self_test(old, new, name):
    assert result_of(old, new) == {name: NUMBERS[name]}


def test_other_dimensions_are_refused():
    with pytest.raises(
        InputError, match=r"new\.keras has 8 compatible dimensions and old\.keras 4"
    ):
        compatibility.self_and_cross_tests(
            adopted(KnownNumbers(NUMBERS)), OLD, NamedEncoder("new", dims=8)
        )


def test_the_words_are_written_into_the_results():
    error = {"better": 0.01, "equal": 0.01, "worse": 0.01}
    results = {
        "x": result_of(OLD, NEW) | {"error": error, "units": {"count": 100, "name": "identities"}}
    }
    found = compatibility.judge(results, Rule(decide_by=("better",)))
    assert results["x"]["word"] == {"better": "better", "equal": "open", "worse": "worse"}
    assert found
    assert (
        found.sentence
        == "not compatible: worse (-0.2500) is shown to be worse than the old encoder's own"
    )


def test_of_several_protocols_each_metric_has_its_name():
    error = {
        "error": {"better": 0.01, "equal": 0.01, "worse": 0.01},
        "units": {"count": 100, "name": "identities"},
    }
    results = {name: result_of(OLD, NEW) | error for name in ("x", "y")}
    found = compatibility.judge(results, Rule())
    assert found
    assert found.because.startswith(
        "worse of x (-0.2500), worse of y (-0.2500) are shown to be worse"
    )


def test_numbers_alone_leave_it_undecided():
    result = result_of(OLD, NEW)
    for test in ("old/old", "new/old"):
        result[test] = {
            metric: value for metric, value in result[test].items() if metric != "worse"
        }
    result |= {"gain": {"better": 0.25, "equal": 0.0}}
    found = compatibility.judge({"pairs": result}, Rule())
    assert found
    assert found.word == "undecided"
    assert found.because.endswith("the protocol gives numbers without what they rest on")


def test_no_verdict_without_a_cross_test():
    assert compatibility.judge({"pairs": result_of(None, NEW)}, Rule()) is None
