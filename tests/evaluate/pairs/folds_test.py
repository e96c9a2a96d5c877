import numpy as np
import pytest
from sklearn.model_selection import KFold

from bct_keras.evaluate.pairs import folds


def scored_pairs(pairs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns genuine and impostor pairs in turns of 30, as in LFW's folds; scores overlap."""
    random = np.random.default_rng(seed)
    same = np.arange(pairs) // 30 % 2 == 0
    return np.clip(random.normal(np.where(same, 0.45, 0.05), 0.2), -1, 1), same


def accuracy_by_sklearn(scores: np.ndarray, same: np.ndarray) -> float:
    """Returns the accuracy by the published procedure, as a plain loop.

    The best of 400 thresholds on nine folds is applied to the tenth.
    """
    distances = 2 - 2 * scores
    found = []
    for others, fold in KFold(10, shuffle=False).split(scores):
        shares = [
            np.mean((distances[others] < threshold) == same[others])
            for threshold in np.arange(0, 4, 0.01)
        ]
        best = np.arange(0, 4, 0.01)[np.argmax(shares)]
        found.append(np.mean((distances[fold] < best) == same[fold]))
    return float(np.mean(found))


def tar_by_sklearn(scores: np.ndarray, same: np.ndarray, far: float) -> float:
    """Returns TAR by the published procedure, as a plain loop.

    The lowest threshold that at most `far` of the impostors of nine folds are above is applied to
    the tenth.
    """
    found = []
    for others, fold in KFold(10, shuffle=False).split(scores):
        impostors, genuine = scores[others][~same[others]], scores[fold][same[fold]]
        threshold = min(value for value in impostors if np.mean(impostors > value) <= far)
        if len(genuine):
            found.append(np.mean(genuine > threshold))
    return float(np.mean(found))


# 2403 is not a multiple of 10: KFold makes the first three folds longer by one.
@pytest.mark.parametrize("pairs", [2400, 2403])
def test_ten_folds_are_those_of_sklearn(pairs):
    scores, same = scored_pairs(pairs, seed=pairs)
    for fold, (expected_others, expected_fold) in zip(
        folds.divided(pairs, 10), KFold(10).split(scores), strict=True
    ):
        np.testing.assert_array_equal(np.flatnonzero(fold.others), expected_others)
        np.testing.assert_array_equal(np.flatnonzero(fold.pairs), expected_fold)
    metrics = folds.metrics(scores, same, 10, fars=(1e-1, 1e-2))
    assert list(metrics) == ["accuracy", "TAR@FAR=1e-1", "TAR@FAR=1e-2"]
    assert metrics["accuracy"] == pytest.approx(accuracy_by_sklearn(scores, same), abs=1e-12)
    assert metrics["TAR@FAR=1e-1"] == pytest.approx(tar_by_sklearn(scores, same, 1e-1), abs=1e-12)
    assert metrics["TAR@FAR=1e-2"] == pytest.approx(tar_by_sklearn(scores, same, 1e-2), abs=1e-12)
    assert 0.7 < metrics["accuracy"] < 0.95
    assert metrics["TAR@FAR=1e-2"] < metrics["TAR@FAR=1e-1"] < 1


def test_a_far_that_accepts_fewer_than_ten_pairs_gives_no_metric():
    scores, same = scored_pairs(
        600, seed=0
    )  # 270 impostors outside each fold: 10.8 of them, and 8.1
    assert list(folds.metrics(scores, same, 10, fars=(4e-2, 3e-2))) == ["accuracy", "TAR@FAR=4e-2"]


def test_the_threshold_of_a_fold_does_not_see_the_fold():
    # Two folds of two pairs. Each fold alone is perfectly separable; the other's threshold is wrong
    # for half of it.
    same = np.array([True, False, True, False])
    scores = np.array([0.9, 0.7, 0.6, 0.2])
    # Fold 1 is judged by fold 2's best lowest distance threshold: 0.8 < t <= 1.6, so 0.81: both
    # accepted, one right. Fold 2 is judged by fold 1's: 0.2 < t <= 0.6, so 0.21: both refused, one
    # right.
    assert folds.accuracy(2 - 2 * scores, same, 2) == 0.5


def test_an_encoder_that_maps_all_to_one_point_is_as_good_as_a_guess():
    same = np.arange(2400) % 2 == 0
    metrics = folds.metrics(np.ones(2400), same, 10, fars=(1e-1, 1e-2))
    assert metrics == {"accuracy": 0.5, "TAR@FAR=1e-1": 0.0, "TAR@FAR=1e-2": 0.0}


def test_perfect_scores():
    same = np.arange(2400) % 2 == 0
    metrics = folds.metrics(np.where(same, 0.9, 0.1), same, 10, fars=(1e-2,))
    assert metrics == {"accuracy": 1.0, "TAR@FAR=1e-2": 1.0}


def test_folds_without_a_genuine_pair_have_no_say_in_tar():
    same = np.arange(300) < 150  # all genuine pairs first
    assert folds.metrics(np.where(same, 0.9, 0.1), same, 10, fars=(1e-1,))["TAR@FAR=1e-1"] == 1.0
