"""Measures 1:1 verification: how often pairs of one identity are accepted.

That is TAR, the true accept rate. It goes with FAR, the false accept rate: the share of pairs of
two identities, called impostor pairs, that are accepted too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from bct_keras.errors import InputError

# Scores that differ by less are tied: a product of the same two vectors comes out a bit larger or
# smaller, depending on where in the matrix it stands.
TIE = 1e-6
NOBODY = -1
BINS = np.linspace(-1.0, 1.0, 101)  # of the histograms
# The slope of TAR over log FAR is taken between half and twice the FAR.
SLOPE_SPAN = 2.0


@dataclass(frozen=True)
class Embedded:
    """Holds embeddings with the identity of each."""

    embeddings: np.ndarray  # [rows, dims], of length 1
    labels: np.ndarray  # [rows]


class Sides(NamedTuple):
    """Holds the two sides of a test, as one encoder sees them."""

    query: Embedded
    gallery: Embedded


@dataclass(frozen=True)
class Verification:
    """Holds the scores of all pairs; of the impostors' only the strongest are kept."""

    genuine: np.ndarray  # [genuine pairs]
    genuine_identities: np.ndarray  # [genuine pairs] from 0
    impostors: np.ndarray  # [kept] falling
    # [kept, 2] the second is NOBODY where the pair itself is what is drawn
    impostor_identities: np.ndarray
    stands_for: np.ndarray  # [kept] how many impostor pairs each one stands for
    identities: int
    impostor_pairs: float  # how many there are, kept or not
    impostors_of: np.ndarray  # [identities] in how many of them each identity takes part
    genuine_histogram: np.ndarray  # [bins]
    impostor_histogram: np.ndarray  # [bins]

    @cached_property
    def rising_genuine(self) -> np.ndarray:
        """Returns the genuine scores, rising."""
        return np.sort(self.genuine)

    @cached_property
    def counted_impostors(self) -> np.ndarray:
        """Returns how many impostor pairs score at least as high as each kept one [kept]."""
        return np.cumsum(self.stands_for, dtype=np.float64)

    def threshold_and_tar(self, far: float) -> tuple[float, float]:
        """Returns the lowest threshold at a false accept rate, and TAR there.

        It accepts at most this share of the impostors.
        """
        (threshold,) = self.thresholds([far])
        rejected = np.searchsorted(self.rising_genuine, threshold + TIE, side="right")
        share_rejected = float(rejected) / max(len(self.genuine), 1)
        return float(threshold), 1.0 - share_rejected

    def rates_above(self, threshold: float) -> tuple[float, float]:
        """Returns FAR and TAR at a threshold: the shares of pairs that exceed it.

        FAR is exact among the impostors that were kept; below them it is read off the histogram,
        within whose bins it is taken to go as a normal distribution's does.
        """
        tar = share_above(self.genuine, threshold) if len(self.genuine) else 0.0
        if threshold >= self.impostors[-1]:
            above = np.searchsorted(-self.impostors, -threshold, side="left")
            accepted = self.counted_impostors[above - 1] if above else 0.0
            return float(accepted) / self.impostor_pairs, tar
        at_least = np.append(np.cumsum(self.impostor_histogram[::-1])[::-1], 0)  # [edges of BINS]
        return interpolated_share(threshold, at_least / at_least[0]), tar

    def thresholds(self, fars: Sequence[float]) -> np.ndarray:
        """Returns the threshold at each FAR [fars].

        It is the score that at most so large a share of the impostors exceeds.
        """
        places = np.searchsorted(
            self.counted_impostors, np.array(fars) * self.impostor_pairs, side="right"
        )
        return self.impostors[np.minimum(places, len(self.impostors) - 1)]


def check_finite(*sides: Embedded) -> None:
    """Raises where an embedding is not made of finite numbers, which compare with nothing."""
    for side in sides:
        if not np.isfinite(side.embeddings).all():
            raise InputError("embeddings that are not finite numbers cannot be searched")


def cosines_of(queries: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Returns the cosines of queries with entries [queries, entries].

    An embedding of nothing but zeros is nobody's: an image that could not be embedded. Its cosine
    with everything is the lowest there is, so that it is a miss (ISO/IEC 19795-1).

    Args:
        queries: [queries, dims] of length 1, or of nothing but zeros.
        entries: [dims, entries] likewise.
    """
    scores = queries @ entries
    scores[~queries.any(axis=1)] = -1.0
    scores[:, ~entries.any(axis=0)] = -1.0
    return scores


def interpolated_share(threshold: float, shares: np.ndarray) -> float:
    """Returns the share of scores above a threshold, by the shares at the edges of BINS.

    With a straight line between the edges it would be a tenth too high where impostors are close
    together: two bins may be all of their spread.

    Args:
        threshold: A cosine.
        shares: [edges of BINS] of the scores, those that reach each edge.
    """
    left = int(np.clip(np.searchsorted(BINS, threshold) - 1, 0, len(BINS) - 2))
    high, low = float(shares[left]), float(shares[left + 1])
    if high == 1.0 or low == 0.0:
        return float(np.interp(threshold, BINS, shares))
    # share = Phi(z), and z falls evenly
    normal = NormalDist()
    edges = [normal.inv_cdf(high), normal.inv_cdf(low)]
    return normal.cdf(float(np.interp(threshold, BINS[left : left + 2], edges)))


def tar_at_far(scores: np.ndarray, same: np.ndarray, far: float = 1e-3) -> float:
    """Returns the true accept rate at a false accept rate.

    The threshold is the lowest score that at most this share of the impostor pairs exceeds. A
    genuine pair at the threshold is not accepted.

    Args:
        scores: [pairs] similarities, the higher the more alike.
        same: [pairs] whether both are of one identity.
        far: The share of impostor pairs that may be accepted.

    Example:
        >>> scores = np.array([0.9, 0.6, 0.3, 0.8, 0.2, 0.1])
        >>> same = np.array([True, True, True, False, False, False])
        >>> round(tar_at_far(scores, same, far=0.0), 4)  # above 0.8
        0.3333
        >>> tar_at_far(scores, same, far=0.4)  # above 0.2: one of three impostors
        1.0
    """
    genuine, impostors = split_pairs(scores, same)
    return share_above(genuine, threshold_for(impostors, far))


def threshold_at_far(scores: np.ndarray, same: np.ndarray, far: float = 1e-3) -> float:
    """Returns the score above which a pair is taken for one identity, at a false accept rate.

    Args:
        scores: [pairs] similarities, the higher the more alike.
        same: [pairs] whether both are of one identity.
        far: The share of impostor pairs that may be accepted.

    Example:
        >>> threshold_at_far(np.array([0.9, 0.8, 0.2]), np.array([True, False, False]), far=0.5)
        0.2
    """
    _, impostors = split_pairs(scores, same)
    return threshold_for(impostors, far)


def split_pairs(scores: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scores of genuine pairs, and those of impostor pairs in falling order."""
    scores, same = np.asarray(scores), np.asarray(same, bool)
    if scores.shape != same.shape:
        raise InputError(
            f"scores have the shape {scores.shape} and `same` {same.shape}: one of each pair is "
            "needed"
        )
    genuine, impostors = scores[same], scores[~same]
    if not (len(genuine) and len(impostors)):
        raise InputError(
            "pairs of one identity and pairs of two are needed, and there is one kind alone"
        )
    return genuine, np.sort(impostors)[::-1]


def threshold_for(impostors: np.ndarray, far: float) -> float:
    """Returns the score that at most this share of the impostors exceeds.

    Args:
        impostors: [impostors] their scores, in falling order.
        far: The share.
    """
    if not 0.0 <= far <= 1.0:
        raise InputError(f"a false accept rate of {far} is no share: it has to be from 0 to 1")
    accepted = int(far * len(impostors))
    return float(impostors[accepted]) if accepted < len(impostors) else -np.inf


def share_above(genuine: np.ndarray, threshold: float) -> float:
    """Returns the share of the genuine scores that exceed a threshold by more than a tie."""
    accepted = genuine > threshold + TIE
    return float(np.mean(accepted))


def accepted_share(genuine: np.ndarray, impostors: np.ndarray, accepted_impostors: float) -> float:
    """Returns TAR at the lowest threshold that accepts at most so many impostors.

    Args:
        genuine: The scores of pairs of one identity.
        impostors: The scores of pairs of two, in falling order.
        accepted_impostors: How many of these may be accepted.
    """
    return share_above(genuine, impostors[int(accepted_impostors)])


def kept_impostors(highest_far: float, impostors: int) -> int:
    """Returns how many of the strongest impostor pairs are kept.

    They are enough for the slope of TAR at the highest FAR.
    """
    return min(int(SLOPE_SPAN * highest_far * impostors) + 2, impostors)


def histogram(scores: np.ndarray) -> np.ndarray:
    """Returns how many scores lie in each of BINS [bins]."""
    # Twenty times as fast as np.histogram on millions of scores: two places make one number of 16
    # bits, and those are counted.
    bins = len(BINS) - 1
    exact = (scores.ravel() + 1.0) * (bins / 2)
    places = np.clip(exact, 0, bins - 1, out=exact).astype(np.uint8)
    both = np.bincount(places[: len(places) // 2 * 2].view(np.uint16), minlength=1 << 16)
    table = both.reshape(256, 256)
    counts = (table.sum(axis=0) + table.sum(axis=1))[:bins]
    if len(places) % 2:
        counts[places[-1]] += 1
    return counts
