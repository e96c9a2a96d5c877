"""Numbers from pairs in folds: each fold is judged by a threshold that the others chose."""

from collections.abc import Iterator, Sequence

import numpy as np

from bct_keras.evaluation.measured import is_resolvable, rate_name
from bct_keras.evaluation.verification import accepted_share

# Of the squared distance between embeddings of length 1, as in the code that the published results were made with.
THRESHOLDS = np.arange(0, 4, 0.01)


def metrics(
    scores: np.ndarray, same: np.ndarray, folds: int, fars: Sequence[float]
) -> dict[str, float]:
    """Accuracy and TAR, each a mean over the folds; `scores` [pairs] are cosines."""
    found = {"accuracy": accuracy(2.0 - 2.0 * scores, same, folds)}
    for far in fars:
        if is_resolvable(far, fewest_impostors(same, folds)):
            found[rate_name("TAR@FAR", far)] = true_accepts(scores, same, folds, far)
    return found


def fewest_impostors(same: np.ndarray, folds: int) -> int:
    """Returns how many impostor pairs choose the threshold of the fold that has the fewest to choose it by."""
    return min(int(np.sum(~same[others])) for others, _ in divided(len(same), folds))


def divided(pairs: int, folds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(the other folds, the fold) as masks [pairs]; folds are stretches of the file, the first ones longer by one."""
    for rows in np.array_split(np.arange(pairs), folds):
        fold = np.zeros(pairs, bool)
        fold[rows] = True
        yield ~fold, fold


def accuracy(distances: np.ndarray, same: np.ndarray, folds: int) -> float:
    rightly = judged_rightly(distances, same, folds)
    return float(np.mean([rightly[fold].mean() for _, fold in divided(len(same), folds)]))


def judged_rightly(distances: np.ndarray, same: np.ndarray, folds: int) -> np.ndarray:
    """Returns for each pair [pairs] whether the threshold that the other folds choose judges it rightly."""
    found = np.zeros(len(same), bool)
    for others, fold in divided(len(same), folds):
        best = THRESHOLDS[
            np.argmax(right(distances[others], same[others], THRESHOLDS))
        ]  # the lowest of the best
        found[fold] = (distances[fold] < best) == same[fold]
    return found


def right(distances: np.ndarray, same: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """[thresholds] how many pairs are judged rightly, one identity being said below the threshold."""
    accepted = np.searchsorted(np.sort(distances[same]), thresholds)
    rejected = np.sum(~same) - np.searchsorted(np.sort(distances[~same]), thresholds)
    return accepted + rejected


def true_accepts(scores: np.ndarray, same: np.ndarray, folds: int, far: float) -> float:
    """Over the folds that hold a pair of one identity."""
    shares = []
    for others, fold in divided(len(same), folds):
        impostors = np.sort(scores[others & ~same])[::-1]
        if np.any(fold & same):
            shares.append(accepted_share(scores[fold & same], impostors, far * len(impostors)))
    return float(np.mean(shares))
