"""Computes the exact ROC curve of millions of scores."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Roc:
    """Holds each point where the curve bends, from (0, 0) to (1, 1).

    Between two of these points the curve is a straight line.
    """

    far: np.ndarray  # rising
    tar: np.ndarray
    auc: float

    def tar_nearest(self, far: float) -> float:
        """Returns TAR at the point whose FAR is nearest, of equals the last.

        That is how IJB's published evaluation has it.
        """
        distances = np.abs(self.far - far)
        from_end = np.argmin(distances[::-1])
        nearest = len(distances) - 1 - from_end
        return float(self.tar[nearest])


def roc_curve(genuine: np.ndarray, impostors: np.ndarray, repeated: bool = False) -> Roc:
    """Returns the curve.

    Args:
        genuine: Scores of pairs of one identity.
        impostors: Scores of pairs of two, of which there are millions: sorted where they lie.
        repeated: Whether some pairs were given more than once, so that equal scores are no
            accident of rounding.
    """
    impostors.sort()
    if repeated:
        false, true = bends_by_repetition(genuine, impostors)
    else:
        false, true = bends(genuine, impostors)
    far = np.concatenate([[0], false, [len(impostors)]]) / len(impostors)
    tar = np.concatenate([[0], true, [len(genuine)]]) / len(genuine)
    return Roc(far, tar, auc=float(np.trapezoid(tar, far)))


def bends(genuine: np.ndarray, impostors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns how many impostors, and how many genuine pairs, are accepted at each bend.

    From the highest threshold down.
    """
    # The curve turns only at a genuine score: all the sorted impostors need is to be counted
    # between those.
    thresholds, count = np.unique(genuine, return_counts=True)
    above = len(impostors) - np.searchsorted(impostors, thresholds, side="right")
    at_least = len(impostors) - np.searchsorted(impostors, thresholds, side="left")
    accepted = np.cumsum(count[::-1])[::-1]
    # The point just above each genuine score, and the one that accepts it.
    false = np.stack([above, at_least], 1)
    true = np.stack([accepted - count, accepted], 1)
    return false[::-1].ravel(), true[::-1].ravel()


def bends_by_repetition(
    genuine: np.ndarray, impostors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the same where a score may stand for several pairs.

    The published evaluation, which drops a point only between two equal steps, keeps points in the
    middle of a straight line then, and one of them may be the nearest.
    """
    genuine = np.sort(genuine)
    thresholds = np.unique(np.concatenate([genuine, impostors]))[::-1]
    false = len(impostors) - np.searchsorted(impostors, thresholds, side="left")
    true = len(genuine) - np.searchsorted(genuine, thresholds, side="left")
    turns = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
    kept = np.concatenate([[True], turns, [True]])
    return false[kept], true[kept]
