"""Measures pairs in folds: each fold is judged by a threshold that the others chose.

A fold is one of the equal parts that the pairs are divided into.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bct_keras.metrics.measured import is_resolvable, rate_name
from bct_keras.metrics.verification import accepted_share

# Of the squared distance between embeddings of length 1, as in the code that the published results
# were made with.
THRESHOLDS = np.arange(0, 4, 0.01)


@dataclass(frozen=True)
class Fold:
    """Holds one of the folds, as masks of the pairs."""

    pairs: np.ndarray  # [pairs] bool: those of this fold
    others: np.ndarray  # [pairs] bool: those of all other folds, which choose its threshold


def metrics(
    scores: np.ndarray, same: np.ndarray, folds: int, fars: Sequence[float]
) -> dict[str, float]:
    """Returns accuracy and TAR, each a mean over the folds.

    Args:
        scores: [pairs] cosines.
        same: [pairs] whether both are of one identity.
        folds: How many folds there are.
        fars: The rates at which TAR is given, where the pairs are enough for it.
    """
    found = {"accuracy": accuracy(2.0 - 2.0 * scores, same, folds)}
    impostors = fewest_impostors(same, folds)
    for far in fars:
        if is_resolvable(far, impostors):
            found[rate_name("TAR@FAR", far)] = true_accepts(scores, same, folds, far)
    return found


def fewest_impostors(same: np.ndarray, folds: int) -> int:
    """Returns how many impostor pairs choose the threshold of the fold that has the fewest."""
    counts = []
    for fold in divided(len(same), folds):
        impostors = ~same[fold.others]
        counts.append(int(np.sum(impostors)))
    return min(counts)


def divided(pairs: int, folds: int) -> Iterator[Fold]:
    """Yields the folds: stretches of the file, of which the first ones are longer by one."""
    for rows in np.array_split(np.arange(pairs), folds):
        chosen = np.zeros(pairs, bool)
        chosen[rows] = True
        yield Fold(pairs=chosen, others=~chosen)


def accuracy(distances: np.ndarray, same: np.ndarray, folds: int) -> float:
    """Returns the share of pairs that are judged rightly, the mean over the folds."""
    rightly = judged_rightly(distances, same, folds)
    shares = []
    for fold in divided(len(same), folds):
        shares.append(rightly[fold.pairs].mean())
    return float(np.mean(shares))


def judged_rightly(distances: np.ndarray, same: np.ndarray, folds: int) -> np.ndarray:
    """Returns for each pair [pairs] whether the threshold of the other folds judges it rightly."""
    found = np.zeros(len(same), bool)
    for fold in divided(len(same), folds):
        others = fold.others
        counts = right(distances[others], same[others], THRESHOLDS)
        best = THRESHOLDS[np.argmax(counts)]  # the lowest of the best
        pairs = fold.pairs
        taken_for_same = distances[pairs] < best
        found[pairs] = taken_for_same == same[pairs]
    return found


def right(distances: np.ndarray, same: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns how many pairs each threshold judges rightly [thresholds].

    A pair is taken for one identity below the threshold.

    Args:
        distances: [pairs] squared distances.
        same: [pairs] whether both are of one identity.
        thresholds: [thresholds]
    """
    genuine = np.sort(distances[same])
    impostors = np.sort(distances[~same])
    accepted = np.searchsorted(genuine, thresholds)
    rejected = len(impostors) - np.searchsorted(impostors, thresholds)
    return accepted + rejected


def true_accepts(scores: np.ndarray, same: np.ndarray, folds: int, far: float) -> float:
    """Returns TAR, the mean over the folds that hold a pair of one identity."""
    shares = []
    for fold in divided(len(same), folds):
        impostors = scores[fold.others & ~same]
        impostors = np.sort(impostors)[::-1]
        genuine = scores[fold.pairs & same]
        if len(genuine):
            accepted = far * len(impostors)
            shares.append(accepted_share(genuine, impostors, accepted))
    return float(np.mean(shares))
