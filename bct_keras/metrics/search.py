"""Compares every query with every image of a gallery.

The gallery may hold several images of an identity.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bct_keras import progress
from bct_keras.errors import InputError
from bct_keras.metrics.columns import Columns, TakenApart, arranged, of_queries
from bct_keras.metrics.identification import Identification, rank_counts
from bct_keras.metrics.measured import is_resolvable, rate_name
from bct_keras.metrics.ranking import RECALL_RANKS
from bct_keras.metrics.search_blocks import Best, Block, Impostors, joined
from bct_keras.metrics.strongest import likely_least
from bct_keras.metrics.verification import (
    BINS,
    Embedded,
    Verification,
    accepted_share,
    check_finite,
    cosines_of,
    histogram,
    kept_impostors,
)

SCORES_AT_ONCE = 2_000_000  # 8 MB: they stay near the processor
LEAST = -np.inf  # no score is too low to be looked at


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
    check_finite(query, gallery)
    identities = 1 + max(int(query.labels.max()), int(gallery.labels.max()))
    queries, images = len(query.labels), len(gallery.labels)
    queries_of = np.bincount(query.labels, minlength=identities)
    images_of = np.bincount(gallery.labels, minlength=identities)
    impostors = queries * images - int(queries_of @ images_of)
    kept = kept_impostors(highest_far, impostors)
    columns = Columns(gallery.labels, gallery.labels % 2, groups=2, identities=identities)
    entries = arranged(gallery, columns)
    least = likely_least(query, entries, columns, kept / max(impostors, 1))
    while True:
        collected = Collected(query, columns, kept, least)
        step = max(1, SCORES_AT_ONCE // images)
        for start in progress.track(range(0, queries, step), "comparing", unit="blocks"):
            scores = cosines_of(query.embeddings[start : start + step], entries)
            collected.add(start, scores)
        if collected.count >= kept:
            break
        least = LEAST  # the guess was too high: once more, and all scores are looked at

    # Each identity's queries against the others' images, and its images against the others'
    # queries.
    by_query = queries_of * (images - images_of)
    by_image = images_of * (queries - queries_of)
    return collected.finish(images_of > 0, float(impostors), by_query + by_image)


class Collected:
    """Holds what is known of a search after some blocks of its scores.

    Args:
        query: The queries.
        columns: The gallery, of which each half is a group.
        kept: How many of the strongest impostor pairs are kept.
        least: A score below which none of those lies.
    """

    def __init__(self, query: Embedded, columns: Columns, kept: int, least: float):
        self.query = query
        self.columns = columns
        self.kept = kept
        self.least = least
        self.strongest: list[Impostors] = []
        self.waiting = 0  # how many are in `strongest`
        self.count = 0  # of impostor pairs that reach `least`
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
            scores: [queries, gallery] as the gallery is arranged; they are changed.
        """
        labels = self.query.labels[start : start + len(scores)]
        block = self.columns.take_apart(scores, labels)
        self.genuine.append(block.own)
        self.genuine_labels.append(labels[block.pairs.rows])
        self.genuine_histogram += histogram(block.own)
        self.impostor_histogram += histogram(block.others)
        self.impostor_histogram[0] -= len(block.own)  # what stands for them is below all cosines
        self.add_strongest(block.others, labels)
        self.blocks.append(self.block(block))

    def block(self, block: TakenApart) -> Block:
        """Returns what some queries find."""
        above = self.columns.others_above(block, block.own)  # [halves, pairs]
        queries = len(block.others)
        each = of_queries(queries, block.pairs.rows, block.own, above.sum(axis=0), RECALL_RANKS)
        best = self.columns.best(block.others)
        halves, above_in_half = [], []
        for half, columns in enumerate(self.columns.slices()):
            halves.append(Best(best.scores[half], self.columns.order[best.columns[half]]))
            size = columns.stop - columns.start
            above_of_best = above[half][each.best_pair] if len(block.own) else size
            # Without an image of its own every other one is nearer.
            above_in_half.append(np.where(each.own > -np.inf, above_of_best, size))
        better_half = best.scores.argmax(axis=0)
        place = (better_half, np.arange(queries))
        return Block(
            own=each.own,
            average_precision=each.average_precision,
            recall=each.recall,
            best=Best(best.scores[place], self.columns.order[best.columns[place]]),
            best_of_half=(halves[0], halves[1]),
            above_in_half=(above_in_half[0], above_in_half[1]),
        )

    def add_strongest(self, others: np.ndarray, labels: np.ndarray) -> None:
        """Takes in those that may be among the strongest, with their identities."""
        flat = np.flatnonzero(others >= self.least)
        row, column = np.divmod(flat, others.shape[1])
        found = Impostors(
            scores=others.ravel()[flat],
            query_labels=labels[row],
            gallery_labels=self.columns.labels[column],
        )
        if self.least == LEAST:  # what stands for pairs of one identity was let in
            found = found.at(np.flatnonzero(found.scores > LEAST))
        self.count += len(found)
        self.strongest.append(found)
        self.waiting += len(found)
        if self.waiting > 2 * self.kept:
            self.keep_strongest()

    def keep_strongest(self) -> None:
        """Forgets pairs that are not among the strongest."""
        strongest = Impostors.joined(self.strongest).strongest(self.kept)
        if len(strongest) == self.kept > 0:
            self.least = max(self.least, float(strongest.scores[-1]))
        self.strongest, self.waiting = [strongest], len(strongest)

    def finish(
        self, in_gallery: np.ndarray, impostor_pairs: float, impostors_of: np.ndarray
    ) -> Searched:
        """Returns what the search comes to when every query has been added.

        Args:
            in_gallery: [identities] whether the gallery has an image of each.
            impostor_pairs: How many pairs of two identities there are.
            impostors_of: [identities] in how many of them each takes part.
        """
        strongest = Impostors.joined(self.strongest).strongest(self.kept)
        found = joined(self.blocks)
        identities = np.stack([strongest.query_labels, strongest.gallery_labels], 1)
        verification = Verification(
            genuine=np.concatenate(self.genuine),
            genuine_identities=np.concatenate(self.genuine_labels),
            impostors=strongest.scores,
            impostor_identities=identities,
            stands_for=np.ones(len(strongest), np.float32),
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
