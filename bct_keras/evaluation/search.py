"""Every query against every image of a gallery that may hold several images of an identity."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bct_keras import progress
from bct_keras.errors import InputError
from bct_keras.evaluation.identification import Identification, rank_counts
from bct_keras.evaluation.measured import is_resolvable, rate_name
from bct_keras.evaluation.verification import (
    BINS,
    TIE,
    Embedded,
    Verification,
    accepted_share,
    histogram,
    kept_impostors,
)

SCORES_AT_ONCE = 8_000_000  # 32 MB
RECALL_RANKS = 10


@dataclass(frozen=True)
class Searched:
    verification: Verification
    whole: Identification  # in the whole gallery
    halves: tuple[Identification, ...]  # in that of every other identity: the others' queries are of unseen ones
    average_precision: np.ndarray  # [queries]
    recall: np.ndarray  # [queries] share of the identity's images among the nearest RECALL_RANKS

    @property
    def impostor_pairs(self) -> float:
        return self.verification.impostor_pairs

    def rates(self, fars: Sequence[float], ranks: Sequence[int]) -> dict[str, float]:
        """TAR over all pairs of a query and a gallery image, and the share of queries found at each rank."""
        genuine, impostors = self.verification.genuine, self.verification.impostors
        metrics = {
            rate_name("TAR@FAR", far): accepted_share(genuine, impostors, far * self.impostor_pairs)
            for far in fars
            if is_resolvable(far, self.impostor_pairs)
        }
        counts = rank_counts(self.whole, ranks)
        queries = len(self.whole.mated)
        return metrics | {f"top-{rank}": count / queries for rank, count in zip(ranks, counts, strict=True)}


def search(query: Embedded, gallery: Embedded, highest_far: float) -> Searched:
    """Compares every query with every image; keeps the impostor pairs that rates up to `highest_far` need."""
    if query.embeddings.shape[1] != gallery.embeddings.shape[1]:
        raise InputError(
            f"queries of {query.embeddings.shape[1]} dimensions cannot be searched in a gallery of "
            f"{gallery.embeddings.shape[1]}"
        )
    identities = 1 + max(int(query.labels.max()), int(gallery.labels.max()))
    in_query, in_gallery = (np.bincount(side.labels, minlength=identities) for side in (query, gallery))
    impostors = len(query.labels) * len(gallery.labels) - int(in_query @ in_gallery)
    collected = Collected(query, gallery, kept_impostors(highest_far, impostors))
    step = max(1, SCORES_AT_ONCE // len(gallery.labels))
    for start in progress.track(range(0, len(query.labels), step), "comparing", unit="blocks"):
        collected.add(start, query.embeddings[start : start + step] @ gallery.embeddings.T)

    # Each identity's queries against the others' images, and its images against the others' queries.
    impostors_of = in_query * (len(gallery.labels) - in_gallery) + in_gallery * (len(query.labels) - in_query)
    return collected.finish(in_gallery > 0, float(impostors), impostors_of)


class Collected:
    def __init__(self, query: Embedded, gallery: Embedded, kept_impostors: int):
        self.query, self.gallery = query, gallery
        self.kept = kept_impostors
        self.second_half = gallery.labels % 2 == 1
        self.strongest = [np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64)]
        self.least = -2.0  # what a score has to reach to be one of them; at first below every cosine
        self.histograms = np.zeros((2, len(BINS) - 1), np.int64)
        # for each query: own best, average precision, recall; how many others are above its own in the whole
        # gallery; then best other and its row in the whole gallery, the first half and the second
        self.blocks: list[tuple[np.ndarray, ...]] = []
        self.genuine: list[np.ndarray] = []
        self.genuine_labels: list[np.ndarray] = []

    def add(self, start: int, scores: np.ndarray) -> None:
        labels = self.query.labels[start : start + len(scores)]
        same = labels[:, None] == self.gallery.labels
        genuine = scores[same]
        self.genuine.append(genuine)
        self.genuine_labels.append(np.repeat(labels, same.sum(1)))
        others = np.where(same, -np.inf, scores)
        self.histograms[0] += histogram(genuine)
        self.histograms[1] += histogram(scores[~same])
        self.add_strongest(others, labels)
        best = [best_of(others), best_of(np.where(self.second_half, -np.inf, others))]
        best.append(best_of(np.where(self.second_half, others, -np.inf)))
        own = np.where(same, scores, -np.inf).max(1)
        halves = [
            np.sum((others > own[:, None] - TIE) & part, axis=1) for part in (~self.second_half, self.second_half)
        ]
        others.sort(axis=1)
        ranked = [ranked_query(others[row], scores[row, same[row]]) for row in range(len(scores))]
        precision, recall = np.array(ranked, float).reshape(-1, 2).T
        self.blocks.append((own, precision, recall, *halves, *(part for pair in best for part in pair)))

    def add_strongest(self, others: np.ndarray, labels: np.ndarray) -> None:
        """Those that may be among the strongest, with their identities."""
        if others.size > self.kept:
            least = np.partition(others, others.size - self.kept, axis=None)[others.size - self.kept]
            self.least = max(self.least, float(least))
        row, column = np.nonzero(others >= self.least)
        found = (others[row, column], labels[row], self.gallery.labels[column])
        self.strongest = [np.concatenate([old, new]) for old, new in zip(self.strongest, found, strict=True)]
        if len(self.strongest[0]) > 2 * self.kept:
            self.keep_strongest()

    def keep_strongest(self) -> None:
        """Falling, and no more than are needed; those of blocks that came earlier go before their equals."""
        order = np.argsort(-self.strongest[0], kind="stable")[: self.kept]
        self.strongest = [column[order] for column in self.strongest]
        self.least = max(self.least, float(self.strongest[0][-1]))

    def finish(self, in_gallery: np.ndarray, impostor_pairs: float, impostors_of: np.ndarray) -> Searched:
        own, precision, recall, first_above, second_above, *best = (
            np.concatenate(column) for column in zip(*self.blocks, strict=True)
        )
        self.keep_strongest()
        scores, first, second = self.strongest
        verification = Verification(
            np.concatenate(self.genuine),
            np.concatenate(self.genuine_labels),
            scores,
            np.stack([first, second], 1),
            np.ones(len(scores), np.float32),
            len(impostors_of),
            impostor_pairs,
            impostors_of,
            *self.histograms,
        )
        labels = self.query.labels
        mated = in_gallery[labels]
        found = [Identification(labels, mated, own, best[0], first_above + second_above, best[1])]
        for half, above in enumerate((first_above, second_above)):
            inside = mated & (labels % 2 == half)
            own_inside = np.where(inside, own, -np.inf)
            found.append(Identification(labels, inside, own_inside, best[2 + 2 * half], above, best[3 + 2 * half]))
        return Searched(verification, found[0], tuple(found[1:]), precision, recall)


def best_of(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = scores.argmax(1)
    return scores[np.arange(len(scores)), rows], rows


def ranked_query(others: np.ndarray, own: np.ndarray) -> tuple[float, float]:
    """Average precision, and the share of its own images among the nearest; others rising. A tie counts against us."""
    if not len(own):
        return 0.0, 0.0
    own = np.sort(own)[::-1]
    above = len(others) - np.searchsorted(others, own - TIE, side="right")
    rank = above + np.arange(1, len(own) + 1)
    # AP = mean over its own images of (how many of its own are at least as near) / rank
    return float(np.mean(np.arange(1, len(own) + 1) / rank)), float(np.mean(rank <= RECALL_RANKS))
