"""Arranges a gallery so that a block of scores is looked through few times.

Columns of one group lie side by side, and in a group those of one identity. So the pairs of one
identity are found without comparing labels, and each group of a row is looked through where it
lies.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bct_keras.metrics.verification import TIE, Embedded

# Up to so many thresholds it is faster to compare a row with each than to sort the row.
MOST_COUNTED = 50


@dataclass(frozen=True)
class Pairs:
    """Holds the pairs of one identity among some queries and a gallery."""

    rows: np.ndarray  # [pairs] which of these queries, rising
    columns: np.ndarray  # [pairs] of the arranged gallery


@dataclass(frozen=True)
class TakenApart:
    """Holds a block of scores, taken apart.

    Attributes:
        pairs: The pairs of one identity.
        own: [pairs] their scores.
        others: [queries, gallery] the scores with other identities, as the gallery is arranged;
            -inf stands for each image of the query's own identity.
    """

    pairs: Pairs
    own: np.ndarray
    others: np.ndarray


@dataclass(frozen=True)
class BestOfGroups:
    """Holds the best scores of queries in each group of a gallery."""

    scores: np.ndarray  # [groups, queries]; -inf where a group is empty
    columns: np.ndarray  # [groups, queries] where in the arranged gallery each is


class Columns:
    """Arranges a gallery by groups, and within a group by identity.

    Args:
        labels: [gallery] the identity of each image, numbers from 0.
        group_of: [gallery] the group of each image, numbers from 0.
        groups: How many groups there are.
        identities: How many identities there are.
    """

    def __init__(self, labels: np.ndarray, group_of: np.ndarray, groups: int, identities: int):
        self.order = np.lexsort((labels, group_of))  # [gallery] rows of the gallery
        self.labels = labels[self.order]
        self.group_of = group_of[self.order]
        self.ends = np.searchsorted(self.group_of, np.arange(groups + 1))
        self.images_of = np.bincount(labels, minlength=identities)  # [identities]
        # The columns of each identity, one identity after the other
        self.by_identity = np.argsort(self.labels, kind="stable")
        self.first_of = np.cumsum(self.images_of) - self.images_of  # [identities]

    def slices(self) -> Iterator[slice]:
        """Yields the columns of each group."""
        for start, end in zip(self.ends[:-1], self.ends[1:], strict=True):
            yield slice(int(start), int(end))

    def pairs(self, labels: np.ndarray) -> Pairs:
        """Returns the pairs of one identity of queries with these labels [queries]."""
        counts = self.images_of[labels]
        rows = np.repeat(np.arange(len(labels)), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.repeat(self.first_of[labels], counts) + within
        return Pairs(rows, self.by_identity[places])

    def take_apart(self, scores: np.ndarray, labels: np.ndarray) -> TakenApart:
        """Takes the pairs of one identity out of a block.

        Args:
            scores: [queries, gallery] as the gallery is arranged; they are changed.
            labels: [queries]
        """
        pairs = self.pairs(labels)
        own = scores[pairs.rows, pairs.columns]
        scores[pairs.rows, pairs.columns] = -np.inf
        return TakenApart(pairs, own, scores)

    def best(self, others: np.ndarray) -> BestOfGroups:
        """Returns the best of each group.

        Args:
            others: [queries, gallery]
        """
        groups, queries = len(self.ends) - 1, np.arange(len(others))
        scores = np.full((groups, len(others)), -np.inf, others.dtype)
        found = np.zeros((groups, len(others)), np.int64)
        for group, columns in enumerate(self.slices()):
            if columns.start < columns.stop:
                part = others[:, columns]
                places = part.argmax(axis=1)
                scores[group] = part[queries, places]
                found[group] = columns.start + places
        return BestOfGroups(scores, found)

    def sort_groups(self, others: np.ndarray) -> None:
        """Sorts each group of a block where it lies, rising [queries, gallery]."""
        for columns in self.slices():
            others[:, columns].sort(axis=1)

    def others_above(
        self, block: TakenApart, thresholds: np.ndarray, is_sorted: bool = False
    ) -> np.ndarray:
        """Returns how many others are as near as a pair of one identity [groups, pairs].

        Others that are tied with it count as nearer.

        Args:
            block: A block of scores.
            thresholds: [pairs] a score for each of its pairs, such as `block.own`.
            is_sorted: Whether the groups of the block are sorted.
        """
        ends = np.searchsorted(block.pairs.rows, np.arange(len(block.others) + 1)).tolist()
        just_below = thresholds - TIE
        above = np.empty((len(self.ends) - 1, len(thresholds)), np.int64)
        slices = list(self.slices())
        for query, row in enumerate(block.others):
            pairs = slice(ends[query], ends[query + 1])
            wanted = just_below[pairs]
            for group, columns in enumerate(slices):
                part = row[columns]
                if is_sorted:
                    above[group, pairs] = count_above_in_sorted(part, wanted)
                elif len(wanted) > MOST_COUNTED:
                    above[group, pairs] = count_above_in_sorted(np.sort(part), wanted)
                else:
                    above[group, pairs] = [np.count_nonzero(part > each) for each in wanted]
        return above


def count_above_in_sorted(rising: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns how many of some rising scores are above each threshold [thresholds]."""
    return len(rising) - rising.searchsorted(thresholds, side="right")


def arranged(gallery: Embedded, columns: Columns) -> np.ndarray:
    """Returns the embeddings of a gallery in the order of its columns, [dims, gallery]."""
    return np.ascontiguousarray(gallery.embeddings[columns.order].T)


@dataclass(frozen=True)
class OfQueries:
    """Holds what is known of each query by the ranks of its identity's images; all [queries].

    A query whose identity is not in the gallery has -inf as its `own`, and 0 in the others.
    """

    own: np.ndarray  # the best score of its own identity
    average_precision: np.ndarray
    recall: np.ndarray
    best_pair: np.ndarray  # which pair that best score is of; 0 where there is none


def of_queries(
    queries: int, rows: np.ndarray, own: np.ndarray, above: np.ndarray, recall_ranks: int
) -> OfQueries:
    """Returns average precision and recall of each query.

    Args:
        queries: How many there are.
        rows: [pairs] the query of each pair of one identity, rising.
        own: [pairs] the scores of these pairs.
        above: [pairs] how many others are as near.
        recall_ranks: How many of the nearest images count for the recall.
    """
    # AP = mean over its own images of (how many of its own are at least as near) / rank
    by_query = np.lexsort((-own, rows))  # of each query the best first
    counts = np.bincount(rows, minlength=queries)
    first = np.cumsum(counts) - counts  # [queries]
    place = np.arange(len(rows)) - first[rows] + 1  # [pairs] among its own, from 1
    ranks = above[by_query] + place
    images = np.maximum(counts, 1)
    precision = np.bincount(rows, place / ranks, minlength=queries) / images
    recall = np.bincount(rows, ranks <= recall_ranks, minlength=queries) / images
    best_own = np.full(queries, -np.inf, own.dtype)
    best_pair = np.zeros(queries, np.int64)
    has_own = counts > 0
    best_pair[has_own] = by_query[first[has_own]]
    best_own[has_own] = own[best_pair[has_own]]
    return OfQueries(best_own, precision, recall, best_pair)
