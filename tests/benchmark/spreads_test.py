"""Two seeds of three methods in two cells, every expected number worked out beside it."""

import numpy as np
import pytest

from bct_keras.benchmark import spreads
from bct_keras.benchmark.ranking import ranking
from bct_keras.benchmark.spreads import Results

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
        "above_old": {"top-1": cross > old},
        "verdict": (
            "compatible" if cross > old + 0.15 else "undecided" if cross > old else "not compatible"
        ),
        "flips": {"negative": 0.1 * (seed + 1), "positive": 0.3},
        "seconds_per_step": 0.5 if own >= 0.6 and cross <= 0.1 else 0.6,
    }


@pytest.fixture
def results() -> Results:
    return {
        ("open-class", "weak", method): {
            seed: found(seed, *values) for seed, values in seeds.items()
        }
        for method, seeds in HERE.items()
    }


def row_of(table: list[dict], method: str) -> dict:
    (row,) = [row for row in table if row["method"] == method]
    return row


def test_a_cell_over_its_seeds(results):
    row = row_of(spreads.cells(results, "free"), "near")
    values = row["metrics"]["top-1"]
    # gain 0.4 - 0.2 and 0.4 - 0.3; of the way to the free network 0.2 / (0.6 - 0.2) and 0.1 / (0.7
    # - 0.3)
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
    assert row["above_old"] == {"top-1": 2}
    assert row["verdicts"] == ["compatible", "undecided"]
    assert row["flips"]["negative"]["mean"] == pytest.approx(0.15)
    assert row["cost"]["values"] == pytest.approx([1.2, 1.2])  # 0.6 s a step against 0.5
    assert row_of(spreads.cells(results, "free"), "free")["verdicts"] == [
        "not compatible",
        "not compatible",
    ]


def test_a_difference_is_decided_by_its_interval_over_seeds(results):
    for seeds, own in zip(HERE.values(), ((0.6, 0.05), (0.55, 0.405), (0.6, 0.345)), strict=True):
        seeds_here = results[
            "open-class", "weak", next(name for name, each in HERE.items() if each is seeds)
        ]
        seeds_here[2] = found(1, *own)
    between = {
        (each["method"], each["other"]): each for each in spreads.differences(results, "cross")
    }
    assert len(between) == 3
    near_far = between["near", "far"]
    # 0.4 - 0.35, 0.4 - 0.36 and 0.405 - 0.345: mean 0.05, standard deviation 0.01, t 4.303 for two
    # degrees of freedom
    assert near_far["values"] == pytest.approx([0.05, 0.04, 0.06])
    assert near_far["spread"] == pytest.approx(0.01)
    assert near_far["interval"] == pytest.approx(
        (0.05 - 4.303 * 0.01 / 3**0.5, 0.05 + 4.303 * 0.01 / 3**0.5), abs=1e-5
    )
    assert near_far["decided"] is True
    # self-tests, the same in the first two seeds: 0.54 - 0.6, 0.63 - 0.7 and 0.55 - 0.6
    own = {(each["method"], each["other"]): each for each in spreads.differences(results, "self")}
    assert own["free", "far"]["decided"] is False  # the same in each


def test_two_seeds_decide_little(results):
    """The difference is six times its spread, and yet chance does that in one of ten."""
    pairs = {
        (each["method"], each["other"]): each for each in spreads.differences(results, "cross")
    }
    each = pairs["near", "far"]
    # 0.05 and 0.04: mean 0.045, standard deviation 0.00707, t 12.71 for one degree of freedom
    assert each["mean"] == pytest.approx(0.045)
    assert each["interval"] == pytest.approx(
        (0.045 - 12.706 * 0.005, 0.045 + 12.706 * 0.005), abs=1e-5
    )
    assert each["decided"] is False


def test_one_seed_has_no_spread_and_decides_nothing(results):
    alone = {key: {0: seeds[0]} for key, seeds in results.items()}
    assert spreads.cells(alone, "free")[0]["metrics"]["top-1"]["self"]["spread"] is None
    for each in spreads.differences(alone, "cross"):
        assert (each["interval"], each["decided"]) == (None, False)


def test_the_ranking_is_by_the_harmonic_mean_over_all_cells(results):
    # In a second cell "far" stays where the old encoder is, so its score there is 0.
    second = {("open-data", "weak", method): seeds for (_, _, method), seeds in results.items()}
    second["open-data", "weak", "far"] = {seed: found(seed, 0.6, old) for seed, old in OLD.items()}
    table = spreads.cells({**results, **second}, "free")
    ranked = ranking(table, "top-1")
    assert [row["method"] for row in ranked] == ["near", "far", "free"]
    near = [0.9 / 1.4, 0.45 / 1.15]
    # update gain 0.15 / 0.4 and 0.06 / 0.4 of a self-test that is kept whole: 2 * 0.375 / 1.375 and
    # 2 * 0.15 / 1.15
    far = [0.75 / 1.375 / 2, 0.3 / 1.15 / 2]
    for row, scores in zip(ranked, (near, far, [0.0, 0.0]), strict=True):
        assert row["score"]["values"] == pytest.approx(scores)
        assert row["score"]["mean"] == pytest.approx(np.mean(scores))
        assert row["score"]["spread"] == pytest.approx(np.std(scores, ddof=1), abs=1e-12)
    # "far" is above the old encoder in the first cell alone
    assert [row["above_old"] for row in ranked] == [1.0, 0.5, 0.0]
    # Seed by seed: above by 0.2 and 0.1 in both cells; by 0.15 and 0.06 in the first cell alone;
    # below.
    words = ("compatible", "undecided", "not compatible")
    assert [tuple(row["verdicts"][word] for word in words) for row in ranked] == [
        (2, 2, 0),
        (0, 2, 2),
        (0, 0, 4),
    ]
    assert ranked[0]["update_gain"] == pytest.approx(0.375)
    assert ranked[0]["kept"] == pytest.approx(0.9)


@pytest.mark.parametrize("missing", ["a seed", "a cell", "the reference"])
def test_a_method_that_is_missing_somewhere_has_no_rank(results, missing):
    second = {
        ("open-data", "weak", method): dict(seeds) for (_, _, method), seeds in results.items()
    }
    if missing == "a seed":
        del second["open-data", "weak", "near"][1]
    else:
        del second["open-data", "weak", "near" if missing == "a cell" else "free"]
    ranked = ranking(spreads.cells({**results, **second}, "free"), "top-1")
    unranked = {row["method"] for row in ranked if row["unranked"]}
    assert unranked == {row["method"] for row in ranked if row["score"]["mean"] is None}
    reasons = {
        "a seed": "1 of its 4 cells could not be measured",
        "a cell": "2 of its 4 cells could not be measured",
        "the reference": (
            "the network without constraint could not be measured "
            "(open-data, old encoder weak, seed 0)"
        ),
    }
    assert reasons[missing] in {row["unranked"] for row in ranked}
    assert unranked == ({"near", "far", "free"} if missing == "the reference" else {"near"})
    if missing != "the reference":
        assert ranked[-1]["method"] == "near"


def test_where_no_constraint_is_no_better_than_the_old_encoder_there_is_no_way_to_go(results):
    results["open-class", "weak", "free"][0] = found(0, 0.2, 0.0)
    values = row_of(spreads.cells(results, "free"), "near")["metrics"]["top-1"]
    assert values["update_gain"]["mean"] is None
    assert values["score"]["mean"] is None
    why = (
        "the network without constraint is not above the old encoder by top-1 "
        "(open-class, old encoder weak, seed 0)"
    )
    assert {row["unranked"] for row in ranking(spreads.cells(results, "free"), "top-1")} == {why}


@pytest.mark.parametrize(
    ("first", "second", "mean"),
    [(0.5, 1.0, 2 / 3), (1.0, 1.0, 1.0), (-0.1, 0.9, 0.0), (0.0, 0.9, 0.0), (None, 0.9, None)],
)
def test_the_harmonic_mean(first, second, mean):
    assert spreads.harmonic_mean(first, second) == (None if mean is None else pytest.approx(mean))


def test_the_ranking_tells_who_is_behind_the_first_by_more_than_chance():
    """The second is behind by about 0.1 on each of four seeds, the third on all but one."""
    gains = {
        "free": [0.3] * 4,
        "first": [0.2] * 4,
        "second": [0.10, 0.11, 0.09, 0.10],
        "third": [0.1, 0.1, 0.25, 0.1],
    }
    results: Results = {
        ("open-class", "weak", name): {
            seed: found(0, 0.6, 0.2 + gain) | {"above_old": {"top-1": True}}
            for seed, gain in enumerate(values)
        }
        for name, values in gains.items()
    }
    for seed in range(4):
        results["open-class", "weak", "free"][seed]["new/old"]["top-1"] = 0.0
    ranked = ranking(spreads.cells(results, "free"), "top-1")
    behind = {row["method"]: row["behind_first"] for row in ranked}
    assert ranked[0]["method"] == "first"
    assert behind == {
        "first": False,
        "third": False,
        "second": True,
        "free": False,
    }  # "free" is 0 in each: no spread
