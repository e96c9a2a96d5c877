"""Tests that the mark of a difference over seeds errs as often as it says."""

import numpy as np
import pytest

from bct_keras.benchmark import spreads
from bct_keras.metrics import student


@pytest.mark.parametrize(
    # Any table of Student's t, 97.5 % from one side
    ("freedom", "expected"),
    [
        (1, 12.7062),
        (2, 4.3027),
        (3, 3.1824),
        (4, 2.7764),
        (5, 2.5706),
        (9, 2.2622),
        (30, 2.0423),
        (120, 1.9799),
    ],
)
def test_critical_values(freedom, expected):
    assert student.critical(freedom) == pytest.approx(expected, abs=6e-5)


def test_the_interval_by_hand():
    # mean 2, standard deviation 1: 2 - 4.3027 / sqrt(3) and 2 + 4.3027 / sqrt(3)
    assert student.interval([1.0, 2.0, 3.0]) == pytest.approx((-0.48414, 4.48414), abs=1e-5)
    assert not student.decided([1.0, 2.0, 3.0])
    assert student.decided([10.0, 11.0, 12.0])
    assert student.decided([-10.0, -11.0, -12.0])
    assert student.interval([1.0]) is None
    assert student.interval([1.0, 1.0, 1.0]) is None
    assert not student.decided([1.0, 1.0])


TRIALS = 20_000


def wrong(seeds: int, draw) -> float:
    """Returns how often a difference is decided between two methods of the same quality."""
    return float(
        np.mean(
            [
                student.decided(values)
                for values in draw(np.random.default_rng(seeds), seeds).tolist()
            ]
        )
    )


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_methods_of_the_same_quality_are_told_apart_in_five_of_a_hundred(seeds):
    error = wrong(seeds, lambda random, seeds: random.normal(size=(TRIALS, seeds)))
    assert 0.045 < error < 0.055  # 5 %, with a standard error of 0.15 %


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("step", [0.3, 1.0, 3.0])
def test_neither_does_a_coarse_metric_tell_them_apart_more_often(seeds, step):
    """Takes top-1 of few queries, whose differences are often just the same."""
    error = wrong(
        seeds, lambda random, seeds: np.round(random.normal(size=(TRIALS, seeds)) / step) * step
    )
    assert error < 0.06


def test_a_large_difference_is_found():
    random = np.random.default_rng(0)
    found = [student.decided(values) for values in random.normal(4.0, 1.0, (2000, 3)).tolist()]
    assert np.mean(found) > 0.7


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_mark_of_the_tables_is_this_one(seeds):
    """Returns two methods whose cross-tests are draws of one distribution, with shared seeds."""
    random = np.random.default_rng(seeds)
    marked = []
    for _ in range(2000):
        shared = random.normal(0.3, 0.05, seeds)  # an easy or a hard seed for both
        results: spreads.Results = {
            ("open-class", "weak", name): {
                seed: {"new/old": {"top-1": float(shared[seed] + random.normal(0, 0.01))}}
                for seed in range(seeds)
            }
            for name in ("one", "other")
        }
        (each,) = spreads.differences(results, "cross")
        marked.append(each["decided"])
    assert 0.035 < np.mean(marked) < 0.065  # 5 %, with a standard error of 0.5 %
