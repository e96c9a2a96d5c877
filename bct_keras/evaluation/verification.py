"""1:1: how often the right one is accepted, at a rate of wrong ones accepted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# Scores that differ by less are tied: a product of the same two vectors comes out a bit larger or smaller,
# depending on where in the matrix it stands.
TIE = 1e-6
NOBODY = -1
BINS = np.linspace(-1.0, 1.0, 101)  # of the histograms
FEW_IDENTITIES = 20  # below, a draw of identities may need nearly all impostor pairs
FEW_PAIRS = 300_000  # so many are kept then, if there are so many: 6 MB


@dataclass(frozen=True)
class Embedded:
    embeddings: np.ndarray  # [rows, dims], of length 1
    labels: np.ndarray  # [rows]


@dataclass(frozen=True)
class Verification:
    """The scores of all pairs; of the impostors' only the strongest are kept."""

    genuine: np.ndarray  # [genuine pairs]
    genuine_identities: np.ndarray  # [genuine pairs] from 0
    impostors: np.ndarray  # [kept] falling
    impostor_identities: np.ndarray  # [kept, 2] the second is NOBODY where the pair itself is what is drawn
    stands_for: np.ndarray  # [kept] how many impostor pairs each one stands for
    identities: int
    # weights of the identities [draws, identities] -> [draws] weight of all impostor pairs
    weigh_impostors: Callable[[np.ndarray], np.ndarray]
    genuine_histogram: np.ndarray  # [bins]
    impostor_histogram: np.ndarray  # [bins]

    def tar(self, weights: np.ndarray, fars: Sequence[float]) -> np.ndarray:
        """[draws, fars] TAR where each identity counts `weights` [draws, identities] times.

        A pair of two identities counts as often as both of them together, their product; a genuine one as often as
        its identity.
        """
        order = np.argsort(self.genuine)[::-1]
        falling, identities = -self.genuine[order], self.genuine_identities[order]
        first, second = self.impostor_identities.T
        found = np.empty((len(weights), len(fars)))
        totals = self.weigh_impostors(weights)
        for draw, drawn in enumerate(weights.astype(np.float32)):
            weight = np.append(drawn, np.float32(1.0))  # that of NOBODY
            accepted = np.cumsum(weight[first] * weight[second] * self.stands_for, dtype=np.float64)
            places = np.searchsorted(accepted, np.array(fars) * totals[draw], side="right")
            thresholds = self.impostors[np.minimum(places, len(self.impostors) - 1)]
            above = np.searchsorted(falling, -(thresholds + TIE), side="left")
            genuine = np.concatenate([[0.0], np.cumsum(weight[identities], dtype=np.float64)])
            found[draw] = genuine[above] / max(genuine[-1], 1.0)
        return found

    def thresholds(self, fars: Sequence[float]) -> np.ndarray:
        """[fars] the score that at most so large a share of the impostors passes"""
        total = self.weigh_impostors(np.ones((1, self.identities)))[0]
        places = np.searchsorted(np.cumsum(self.stands_for, dtype=np.float64), np.array(fars) * total, side="right")
        return self.impostors[np.minimum(places, len(self.impostors) - 1)]


def accepted_share(genuine: np.ndarray, impostors: np.ndarray, accepted_impostors: float) -> float:
    """TAR at the lowest threshold that accepts at most so many of the impostors (given in falling order)."""
    threshold = impostors[int(accepted_impostors)]
    return float(np.mean(genuine > threshold + TIE))


def kept_impostors(highest_far: float, impostors: int, identities: int) -> int:
    """Returns how many of the strongest impostor pairs are kept so that no draw of identities runs off their end.

    A draw that leaves out the identities of the strongest pairs reaches its share of false accepts farther down. Over
    500 draws of 50 identities the farthest one needs 1.7 times as many pairs as all identities do, of 20 three times.
    """
    kept = int((1.25 + 40 / identities) * highest_far * impostors) + 2
    return max(kept, min(impostors, FEW_PAIRS)) if identities < FEW_IDENTITIES else kept


def histogram(scores: np.ndarray) -> np.ndarray:
    # Ten times as fast as np.histogram on millions of scores.
    bins = len(BINS) - 1
    places = np.clip((scores + 1.0) * (bins / 2), 0, bins - 1).astype(np.uint8)
    return np.bincount(places, minlength=bins)


def identity_weights(identities: int, draws: int, seed: int) -> np.ndarray:
    """[draws, identities] how often each identity is drawn, with replacement, as many as there are."""
    random = np.random.default_rng(seed)
    return random.multinomial(identities, np.full(identities, 1.0 / identities), size=draws)
