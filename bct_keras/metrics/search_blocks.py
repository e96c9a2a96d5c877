"""Holds what a search finds block by block, and joins the blocks.

A block is what some of the queries find in the whole gallery.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Best:
    """Holds each query's best score with images of other identities, in a part of the gallery."""

    scores: np.ndarray  # [queries]
    rows: np.ndarray  # [queries] of the whole gallery


@dataclass(frozen=True)
class Block:
    """Holds what some of the queries find; each field has an entry for each of them."""

    own: np.ndarray  # [queries] best score of their own identity; -inf where it has no image
    average_precision: np.ndarray  # [queries]
    recall: np.ndarray  # [queries]
    best: Best  # in the whole gallery
    best_of_half: tuple[Best, Best]
    # [queries] each: how many others are as near as their own
    above_in_half: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Impostors:
    """Holds pairs of two identities."""

    scores: np.ndarray  # [pairs]
    query_labels: np.ndarray  # [pairs]
    gallery_labels: np.ndarray  # [pairs]

    @classmethod
    def none(cls) -> "Impostors":
        """Returns no pairs."""
        return cls(
            scores=np.empty(0, np.float32),
            query_labels=np.empty(0, np.int64),
            gallery_labels=np.empty(0, np.int64),
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __add__(self, other: "Impostors") -> "Impostors":
        """Joins these pairs and others."""
        return Impostors(
            scores=np.concatenate([self.scores, other.scores]),
            query_labels=np.concatenate([self.query_labels, other.query_labels]),
            gallery_labels=np.concatenate([self.gallery_labels, other.gallery_labels]),
        )

    def at(self, places: np.ndarray) -> "Impostors":
        """Returns the pairs at these places."""
        return Impostors(
            self.scores[places], self.query_labels[places], self.gallery_labels[places]
        )

    def strongest(self, count: int) -> "Impostors":
        """Returns the pairs with the highest scores, falling, and no more than `count`."""
        return self.at(np.argsort(-self.scores)[:count])


def joined(blocks: list[Block]) -> Block:
    """Returns one block of all queries."""
    return Block(
        own=np.concatenate([each.own for each in blocks]),
        average_precision=np.concatenate([each.average_precision for each in blocks]),
        recall=np.concatenate([each.recall for each in blocks]),
        best=joined_best([each.best for each in blocks]),
        best_of_half=(
            joined_best([each.best_of_half[0] for each in blocks]),
            joined_best([each.best_of_half[1] for each in blocks]),
        ),
        above_in_half=(
            np.concatenate([each.above_in_half[0] for each in blocks]),
            np.concatenate([each.above_in_half[1] for each in blocks]),
        ),
    )


def joined_best(parts: list[Best]) -> Best:
    """Returns the best of all queries."""
    return Best(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.rows for part in parts]),
    )
