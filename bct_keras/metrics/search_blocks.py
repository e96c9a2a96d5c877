"""Holds what a search finds block by block, and joins the blocks.

A block is what some of the queries find in the whole gallery.
"""

from collections.abc import Sequence
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

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def joined(cls, parts: Sequence["Impostors"]) -> "Impostors":
        """Returns the pairs of all parts."""
        return cls(
            scores=np.concatenate([part.scores for part in parts]),
            query_labels=np.concatenate([part.query_labels for part in parts]),
            gallery_labels=np.concatenate([part.gallery_labels for part in parts]),
        )

    def at(self, places: np.ndarray) -> "Impostors":
        """Returns the pairs at these places."""
        return Impostors(
            self.scores[places], self.query_labels[places], self.gallery_labels[places]
        )

    def strongest(self, count: int) -> "Impostors":
        """Returns the pairs with the highest scores, falling, and no more than `count`."""
        return self.at(falling_order(self.scores)[:count])


def falling_order(scores: np.ndarray) -> np.ndarray:
    """Returns the places of finite scores, the highest first, and of equal ones the first first.

    Args:
        scores: [pairs] float32.

    Example:
        >>> falling_order(np.array([0.5, -0.25, 0.75, 0.5], np.float32))
        array([2, 0, 3, 1])
    """
    # One whole number for each, which has the score in its upper half and the place in its lower:
    # numbers alone are sorted ten times as fast as places are by their scores. The bits of a float
    # rise with it where it is positive, and fall where it is negative.
    bits = (scores + np.float32(0.0)).astype(np.float32).view(np.int32).astype(np.int64)
    rising = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    keys = (-rising << 32) + np.arange(len(scores))
    keys.sort()
    return keys & 0xFFFFFFFF


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
