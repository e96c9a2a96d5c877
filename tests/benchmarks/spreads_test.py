"""Two seeds of three methods in two cells, every expected number worked out beside it."""

import numpy as np
import pytest

from bct_keras.benchmarks import spreads
from bct_keras.benchmarks.spreads import Results

OLD = {0: 0.2, 1: 0.3}
# method: {seed: (self-test, cross-test)}
HERE = {
    "free": {0: (0.6, 0.0), 1: (0.7, 0.1)},
    "near": {0: (0.54, 0.4), 1: (0.63, 0.4)},
    "far": {0: (0.6, 0.35), 1: (0.7, 0.36)},
}


def found(seed: int, own: float, cross: float) -> dict:
    old = OLD[seed]
    return {
        "old/old": {"top-1": old},
        "new/new": {"top-1": own},
        "new/old": {"top-1": cross},
        "compatible": {"top-1": cross > old},
        "flips": {"negative": 0.1 * (seed + 1), "positive": 0.3},
        "seconds_per_step": 0.5 if own >= 0.6 and cross <= 0.1 else 0.6,
    }


@pytest.fixture
def results() -> Results:
    return {
        ("open-class", "weak", method): {seed: found(seed, *values) for seed, values in seeds.items()}
        for method, seeds in HERE.items()
    }


def row_of(table: list[dict], method: str) -> dict:
    (row,) = [row for row in table if row["method"] == method]
    return row


def test_a_cell_over_its_seeds(results):
    row = row_of(spreads.cells(results, "free"), "near")
    values = row["metrics"]["top-1"]
    # gain 0.4 - 0.2 and 0.4 - 0.3; of the way to the free network 0.2 / (0.6 - 0.2) and 0.1 / (0.7 - 0.3)
    expected = {
        "self": (0.54, 0.63),
        "cross": (0.4, 0.4),
        "old": (0.2, 0.3),
        "gain": (0.2, 0.1),
        "update_gain": (0.5, 0.25),
        "tax": (0.06, 0.07),
        "kept": (0.9, 0.9),
        # 2 * 0.5 * 0.9 / 1.4 and 2 * 0.25 * 0.9 / 1.15
        "score": (0.9 / 1.4, 0.45 / 1.15),
    }
    assert values.keys() == expected.keys()
    for name, each in expected.items():
        assert values[name]["values"] == pytest.approx(each), name
        assert values[name]["mean"] == pytest.approx(np.mean(each)), name
        assert values[name]["spread"] == pytest.approx(np.std(each, ddof=1), abs=1e-12), name
    assert row["compatible"] == {"top-1": 2}
    assert row["flips"]["negative"]["mean"] == pytest.approx(0.15)
    assert row["cost"]["values"] == pytest.approx([1.2, 1.2])  # 0.6 s a step against 0.5
    assert spreads.is_compatible(row)
    assert not spreads.is_compatible(row_of(spreads.cells(results, "free"), "free"))


def test_a_difference_is_set_against_its_spread_over_seeds(results):
    between = {(each["method"], each["other"]): each for each in spreads.differences(results, "cross")}
    assert len(between) == 3
    near_far = between["near", "far"]
    # 0.4 - 0.35 and 0.4 - 0.36: mean 0.045, standard deviation 0.01 / sqrt(2) = 0.00707
    assert near_far["values"] == pytest.approx([0.05, 0.04])
    assert near_far["spread"] == pytest.approx(0.01 / 2**0.5)
    assert near_far["larger_than_spread"] is True
    # 0.0 - 0.4 and 0.1 - 0.4: mean -0.35, standard deviation 0.0707
    assert between["free", "near"]["larger_than_spread"] is True
    # self-tests, 0.6 - 0.6 and 0.7 - 0.7
    own = {(each["method"], each["other"]): each for each in spreads.differences(results, "self")}
    assert own["free", "far"]["larger_than_spread"] is False


def test_a_difference_smaller_than_its_spread(results):
    results["open-class", "weak", "far"][1] = found(1, 0.7, 0.5)
    pairs = {(each["method"], each["other"]): each for each in spreads.differences(results, "cross")}
    each = pairs["near", "far"]
    # 0.05 and -0.1: mean -0.025, standard deviation 0.106
    assert each["mean"] == pytest.approx(-0.025)
    assert each["larger_than_spread"] is False


def test_one_seed_has_no_spread(results):
    alone = {key: {0: seeds[0]} for key, seeds in results.items()}
    assert spreads.cells(alone, "free")[0]["metrics"]["top-1"]["self"]["spread"] is None
    assert {each["larger_than_spread"] for each in spreads.differences(alone, "cross")} == {None}


def test_the_ranking_is_by_the_harmonic_mean_over_all_cells(results):
    # In a second cell "far" stays where the old encoder is, so its score there is 0.
    second = {("open-data", "weak", method): seeds for (_, _, method), seeds in results.items()}
    second["open-data", "weak", "far"] = {seed: found(seed, 0.6, old) for seed, old in OLD.items()}
    table = spreads.cells({**results, **second}, "free")
    ranked = spreads.ranking(table, "top-1")
    assert [row["method"] for row in ranked] == ["near", "far", "free"]
    near = [0.9 / 1.4, 0.45 / 1.15]
    # update gain 0.15 / 0.4 and 0.06 / 0.4 of a self-test that is kept whole: 2 * 0.375 / 1.375 and 2 * 0.15 / 1.15
    far = [0.75 / 1.375 / 2, 0.3 / 1.15 / 2]
    for row, scores in zip(ranked, (near, far, [0.0, 0.0]), strict=True):
        assert row["score"]["values"] == pytest.approx(scores)
        assert row["score"]["mean"] == pytest.approx(np.mean(scores))
        assert row["score"]["spread"] == pytest.approx(np.std(scores, ddof=1), abs=1e-12)
    # "far" is above the old encoder in the first cell alone
    assert [(row["compatible_cells"], row["cells"]) for row in ranked] == [(2, 2), (1, 2), (0, 2)]
    assert ranked[0]["update_gain"] == pytest.approx(0.375)
    assert ranked[0]["kept"] == pytest.approx(0.9)


@pytest.mark.parametrize("missing", ["a seed", "a cell", "the reference"])
def test_a_method_that_is_missing_somewhere_has_no_rank(results, missing):
    second = {("open-data", "weak", method): dict(seeds) for (_, _, method), seeds in results.items()}
    if missing == "a seed":
        del second["open-data", "weak", "near"][1]
    else:
        del second["open-data", "weak", "near" if missing == "a cell" else "free"]
    ranked = spreads.ranking(spreads.cells({**results, **second}, "free"), "top-1")
    unranked = {row["method"] for row in ranked if row["score"]["mean"] is None}
    assert unranked == ({"near", "far", "free"} if missing == "the reference" else {"near"})
    if missing != "the reference":
        assert ranked[-1]["method"] == "near"


def test_where_no_constraint_is_no_better_than_the_old_encoder_there_is_no_way_to_go(results):
    results["open-class", "weak", "free"][0] = found(0, 0.2, 0.0)
    values = row_of(spreads.cells(results, "free"), "near")["metrics"]["top-1"]
    assert values["update_gain"]["mean"] is None
    assert values["score"]["mean"] is None


@pytest.mark.parametrize(
    ("first", "second", "mean"),
    [(0.5, 1.0, 2 / 3), (1.0, 1.0, 1.0), (-0.1, 0.9, 0.0), (0.0, 0.9, 0.0), (None, 0.9, None)],
)
def test_the_harmonic_mean(first, second, mean):
    assert spreads.harmonic_mean(first, second) == (None if mean is None else pytest.approx(mean))
