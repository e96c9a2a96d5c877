from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.evaluation import compatibility, gains
from bct_keras.evaluation.compatibility import verdict


class NamedEncoder(Encoder):
    def __init__(self, name: str, dims: int = 4):
        super().__init__(Path(f"{name}.keras"), 28, dims)

    def embed(self, images: np.ndarray) -> np.ndarray:
        raise AssertionError("no images here")


class KnownNumbers:
    """A protocol that looks its measurements up."""

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
    return compatibility.self_and_cross_tests(KnownNumbers(NUMBERS), old, new)


def test_both_encoders_give_all_tests_with_the_same_metrics():
    result = result_of(OLD, NEW)
    assert {name: result[name] for name in NUMBERS} == NUMBERS
    assert result["gain"] == {"better": 0.25, "equal": 0.0, "worse": -0.25}


def test_compatible_is_strictly_above_the_old_encoder():
    assert result_of(OLD, NEW)["compatible"] == {"better": True, "equal": False, "worse": False}


def test_where_the_old_encoder_is_never_wrong_the_new_one_has_to_be_as_good():
    assert [gains.is_compatible(cross, 1.0) for cross in (1.0, 0.9999)] == [True, False]


@pytest.mark.parametrize(("old", "new", "name"), [(OLD, None, "old/old"), (None, NEW, "new/new")])
def test_one_encoder_alone_gives_its_self_test(old, new, name):
    assert result_of(old, new) == {name: NUMBERS[name]}


def test_other_dimensions_are_refused():
    with pytest.raises(InputError, match=r"new\.keras has 8 compatible dimensions and old\.keras 4"):
        compatibility.self_and_cross_tests(KnownNumbers(NUMBERS), OLD, NamedEncoder("new", dims=8))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([{"a": True, "b": True}, {"a": True}], "compatible"),
        ([{"a": True, "b": True}, {"a": False}], "not compatible (1 of 3 metrics are not above old/old)"),
        ([{"a": False}], "not compatible (1 of 1 metrics are not above old/old)"),
        ([], None),
    ],
)
def test_the_verdict_is_over_all_metrics_of_all_protocols(found, expected):
    assert verdict({str(place): {"compatible": each} for place, each in enumerate(found)}) == expected


def test_no_verdict_without_a_cross_test():
    assert verdict({"pairs": result_of(None, NEW)}) is None
