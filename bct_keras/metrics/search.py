"""Compares every query with every image of a gallery.

The gallery may hold several images of an identity.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bct_keras import progress
from bct_keras.errors import InputError
from bct_keras.metrics.identification import Identification, rank_counts
from bct_keras.metrics.measured import is_resolvable, rate_name
from bct_keras.metrics.ranking import average_precision, ranks_of_own, recall
from bct_keras.metrics.search_blocks import Best, Block, Impostors, joined
from bct_keras.metrics.verification import (
    BINS,
    TIE,
    Embedded,
    Verification,
    accepted_share,
    histogram,
    kept_impostors,
)

SCORES_AT_ONCE = 8_000_000  # 32 MB


@dataclass(frozen=True)
class Searched:
    """Holds what a search comes to."""

    verification: Verification
    whole: Identification  # in the whole gallery
    # In the gallery of every other identity: queries of the others are of unseen identities.
    halves: tuple[Identification, ...]
    average_precision: np.ndarray  # [queries]
    recall: np.ndarray  # [queries] share of the identity's images among the nearest RECALL_RANKS

    @property
    def impostor_pairs(self) -> float:
        """Returns how many pairs of two identities there are."""
        return self.verification.impostor_pairs

    def rates(self, fars: Sequence[float], ranks: Sequence[int]) -> dict[str, float]:
        """Returns the rates of this search.

        They are TAR over all pairs of a query and an image, where enough impostor pairs are
        accepted, and the share of queries that are found at each rank.
        """
        genuine = self.verification.genuine
        impostors = self.verification.impostors
        metrics = {}
        for far in fars:
            if is_resolvable(far, self.impostor_pairs):
                name = rate_name("TAR@FAR", far)
                accepted = far * self.impostor_pairs
                metrics[name] = accepted_share(genuine, impostors, accepted)
        queries = len(self.whole.mated)
        for rank, count in zip(ranks, rank_counts(self.whole, ranks), strict=True):
            metrics[f"top-{rank}"] = count / queries
        return metrics


def search(query: Embedded, gallery: Embedded, highest_far: float) -> Searched:
    """Compares every query with every image.

    Args:
        query: The queries.
        gallery: The gallery, by the same encoder or by one that it can be searched with.
        highest_far: As many of the strongest impostor pairs are kept as rates up to it need.
    """
    if query.embeddings.shape[1] != gallery.embeddings.shape[1]:
        raise InputError(
            f"queries of {query.embeddings.shape[1]} dimensions cannot be searched in a gallery of "
            f"{gallery.embeddings.shape[1]}"
        )
    identities = 1 + max(int(query.labels.max()), int(gallery.labels.max()))
    queries, images = len(query.labels), len(gallery.labels)
    queries_of = np.bincount(query.labels, minlength=identities)
    images_of = np.bincount(gallery.labels, minlength=identities)
    impostors = queries * images - int(queries_of @ images_of)
    collected = Collected(query, gallery, kept_impostors(highest_far, impostors))
    step = max(1, SCORES_AT_ONCE // images)
    for start in progress.track(range(0, queries, step), "comparing", unit="blocks"):
        block = query.embeddings[start : start + step]
        collected.add(start, block @ gallery.embeddings.T)

    # Each identity's queries against the others' images, and its images against the others'
    # queries.
    by_query = queries_of * (images - images_of)
    by_image = images_of * (queries - queries_of)
    return collected.finish(images_of > 0, float(impostors), by_query + by_image)


class Collected:
    """Holds what is known of a search after some blocks of its scores."""

    def __init__(self, query: Embedded, gallery: Embedded, kept_impostors: int):
        self.query = query
        self.gallery = gallery
        self.kept = kept_impostors
        self.second_half = gallery.labels % 2 == 1  # [gallery]
        self.strongest = Impostors.none()
        # What a score has to reach to be one of them; at first it is below every cosine.
        self.least = -2.0
        bins = len(BINS) - 1
        self.genuine_histogram = np.zeros(bins, np.int64)
        self.impostor_histogram = np.zeros(bins, np.int64)
        self.blocks: list[Block] = []
        self.genuine: list[np.ndarray] = []
        self.genuine_labels: list[np.ndarray] = []

    def add(self, start: int, scores: np.ndarray) -> None:
        """Takes in the scores of some queries with the whole gallery.

        Args:
            start: The row of the first of these queries.
            scores: [queries, gallery]
        """
        labels = self.query.labels[start : start + len(scores)]
        same = labels[:, None] == self.gallery.labels
        genuine = scores[same]
        self.genuine.append(genuine)
        self.genuine_labels.append(np.repeat(labels, same.sum(1)))
        self.genuine_histogram += histogram(genuine)
        self.impostor_histogram += histogram(scores[~same])
        others = np.where(same, -np.inf, scores)
        self.add_strongest(others, labels)
        self.blocks.append(self.block(scores, same, others))

    def block(self, scores: np.ndarray, same: np.ndarray, others: np.ndarray) -> Block:
        """Returns what some queries find; sorts `others`.

        Args:
            scores: [queries, gallery]
            same: [queries, gallery] which pairs are of one identity.
            others: [queries, gallery] the scores, with -inf for pairs of one identity.
        """
        own = np.where(same, scores, -np.inf).max(1)
        best = Best.of(others)
        second = self.second_half
        best_of_first = Best.of(np.where(second, -np.inf, others))
        best_of_second = Best.of(np.where(second, others, -np.inf))
        as_near = others > own[:, None] - TIE
        above_in_first = np.sum(as_near & ~second, axis=1)
        above_in_second = np.sum(as_near & second, axis=1)
        others.sort(axis=1)
        precisions, recalls = np.zeros(len(scores)), np.zeros(len(scores))
        for row, (others_of_row, is_own) in enumerate(zip(others, same, strict=True)):
            ranks = ranks_of_own(scores[row, is_own], others_of_row)
            precisions[row] = average_precision(ranks)
            recalls[row] = recall(ranks)
        return Block(
            own=own,
            average_precision=precisions,
            recall=recalls,
            best=best,
            best_of_half=(best_of_first, best_of_second),
            above_in_half=(above_in_first, above_in_second),
        )

    def add_strongest(self, others: np.ndarray, labels: np.ndarray) -> None:
        """Takes in those that may be among the strongest, with their identities."""
        if others.size > self.kept:
            place = others.size - self.kept
            least = np.partition(others, place, axis=None)[place]
            self.least = max(self.least, float(least))
        row, column = np.nonzero(others >= self.least)
        self.strongest += Impostors(
            scores=others[row, column],
            query_labels=labels[row],
            gallery_labels=self.gallery.labels[column],
        )
        if len(self.strongest) > 2 * self.kept:
            self.keep_strongest()

    def keep_strongest(self) -> None:
        """Forgets pairs that are not among the strongest."""
        self.strongest = self.strongest.strongest(self.kept)
        weakest = self.strongest.scores[-1]
        self.least = max(self.least, float(weakest))

    def finish(
        self, in_gallery: np.ndarray, impostor_pairs: float, impostors_of: np.ndarray
    ) -> Searched:
        """Returns what the search comes to when every query has been added.

        Args:
            in_gallery: [identities] whether the gallery has an image of each.
            impostor_pairs: How many pairs of two identities there are.
            impostors_of: [identities] in how many of them each takes part.
        """
        self.keep_strongest()
        found = joined(self.blocks)
        identities = np.stack([self.strongest.query_labels, self.strongest.gallery_labels], 1)
        verification = Verification(
            genuine=np.concatenate(self.genuine),
            genuine_identities=np.concatenate(self.genuine_labels),
            impostors=self.strongest.scores,
            impostor_identities=identities,
            stands_for=np.ones(len(self.strongest), np.float32),
            identities=len(impostors_of),
            impostor_pairs=impostor_pairs,
            impostors_of=impostors_of,
            genuine_histogram=self.genuine_histogram,
            impostor_histogram=self.impostor_histogram,
        )
        labels = self.query.labels
        mated = in_gallery[labels]
        first_above, second_above = found.above_in_half
        whole = Identification(
            identities=labels,
            mated=mated,
            own=found.own,
            best_other=found.best.scores,
            others_above=first_above + second_above,
            best_other_row=found.best.rows,
        )
        halves = []
        for half, (best, above) in enumerate(
            zip(found.best_of_half, found.above_in_half, strict=True)
        ):
            inside = mated & (labels % 2 == half)
            of_half = Identification(
                identities=labels,
                mated=inside,
                own=np.where(inside, found.own, -np.inf),
                best_other=best.scores,
                others_above=above,
                best_other_row=best.rows,
            )
            halves.append(of_half)
        return Searched(verification, whole, tuple(halves), found.average_precision, found.recall)
