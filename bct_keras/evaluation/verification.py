"""Numbers from scores: how often the right one is accepted, and how often it is found."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bct_keras import progress
from bct_keras.errors import InputError

SCORES_AT_ONCE = 16_000_000  # 64 MB
# Scores that differ by less are tied: a product of the same two vectors comes out a bit larger or smaller,
# depending on where in the matrix it stands.
TIE = 1e-6


@dataclass(frozen=True)
class Embedded:
    embeddings: np.ndarray  # [images, dims], of length 1
    labels: np.ndarray  # [images]


def search(query: Embedded, gallery: Embedded, fars: Sequence[float], ranks: Sequence[int]) -> dict[str, float]:
    """TAR over all pairs of a query and a gallery image, and the share of queries found at each rank."""
    if query.embeddings.shape[1] != gallery.embeddings.shape[1]:
        raise InputError(
            f"queries of {query.embeddings.shape[1]} dimensions cannot be searched in a gallery of "
            f"{gallery.embeddings.shape[1]}"
        )
    pairs = len(query.labels) * len(gallery.labels)
    genuine_pairs = sum(int(np.sum(gallery.labels == label)) for label in query.labels)
    strongest = StrongestScores(int(max(fars) * (pairs - genuine_pairs)) + 1)
    genuine, better = [], []
    step = max(1, SCORES_AT_ONCE // len(gallery.labels))
    for start in progress.track(range(0, len(query.labels), step), "comparing", unit="blocks"):
        block = slice(start, start + step)
        scores = query.embeddings[block] @ gallery.embeddings.T
        same = query.labels[block, None] == gallery.labels
        best = np.where(same, scores, -np.inf).max(1)
        genuine.append(scores[same])
        # A tie counts against us: an encoder that maps everything to one point finds nothing.
        better.append(np.sum((scores > best[:, None] - TIE) & ~same, axis=1))
        strongest.add(scores[~same])
    metrics = {
        f"TAR@FAR={far:.0e}".replace("e-0", "e-"): accepted_share(
            np.concatenate(genuine), strongest.sorted(), far * (pairs - genuine_pairs)
        )
        for far in fars
        if far * (pairs - genuine_pairs) >= 1  # below one pair the rate cannot be told from zero
    }
    found = np.concatenate(better)
    return metrics | {f"top-{rank}": float(np.mean(found < rank)) for rank in ranks}


def accepted_share(genuine: np.ndarray, impostors: np.ndarray, accepted_impostors: float) -> float:
    """TAR at the lowest threshold that accepts at most so many of the impostors (given in falling order)."""
    threshold = impostors[int(accepted_impostors)]
    return float(np.mean(genuine > threshold + TIE))


class StrongestScores:
    """The largest `count` of all scores seen, in memory for that many."""

    def __init__(self, count: int):
        self.count = count
        self.scores = np.empty(0, np.float32)

    def add(self, scores: np.ndarray) -> None:
        self.scores = np.concatenate([self.scores, scores])
        if len(self.scores) > self.count:
            self.scores = np.partition(self.scores, -self.count)[-self.count :]

    def sorted(self) -> np.ndarray:
        return np.sort(self.scores)[::-1]
