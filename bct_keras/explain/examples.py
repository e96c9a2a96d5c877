"""Queries worth a look: whom the upgrade gets wrong first."""

from dataclasses import dataclass

import numpy as np

from bct_keras.errors import InputError
from bct_keras.metrics.flips import margin
from bct_keras.metrics.search import search
from bct_keras.metrics.verification import Embedded


@dataclass(frozen=True)
class Kind:
    """What the upgrade does to a query."""

    name: str
    was_right: bool  # with old/old
    is_right: bool  # with new/old
    shown: int  # how many examples of it


NEGATIVE = Kind("negative flip", was_right=True, is_right=False, shown=6)
POSITIVE = Kind("positive flip", was_right=False, is_right=True, shown=4)
WRONG = Kind("wrong with both", was_right=False, is_right=False, shown=2)
RIGHT = Kind("right with both", was_right=True, is_right=True, shown=2)
KINDS = (NEGATIVE, POSITIVE, WRONG, RIGHT)


@dataclass(frozen=True)
class Example:
    """A query with the image it should find and the one it is taken for."""

    kind: str
    query: int  # its row among the queries
    own: int  # the row of the gallery's image of its own identity that is nearest
    other: int  # and of the one of another identity

    def identities(self, query: Embedded, gallery: Embedded) -> tuple[int, int]:
        """Returns the labels of its two identities.

        Args:
            query: All queries.
            gallery: The gallery that they are searched in.
        """
        own = query.labels[self.query]
        other = gallery.labels[self.other]
        return int(own), int(other)


@dataclass(frozen=True)
class Examples:
    """What the upgrade does to all queries."""

    shares: dict[str, float]  # of each kind
    chosen: list[Example]  # of each kind those that are wrong by most, or right by least


def find_examples(old: Embedded, new: Embedded, gallery: Embedded) -> Examples:
    """Finds queries worth a look.

    Args:
        old: The queries by the old encoder.
        new: The same queries by the new one.
        gallery: The old encoder's gallery.
    """
    if len(np.unique(gallery.labels)) < 2:
        raise InputError("the images are all of one identity; at least 2 are needed for a search")
    before = search(old, gallery, highest_far=0.0).whole
    after = search(new, gallery, highest_far=0.0).whole
    right_before = before.others_above == 0
    right_after = after.others_above == 0
    queries = max(int(before.mated.sum()), 1)

    def worst_margin(row: int) -> float:
        return max(margin(before, row), margin(after, row))

    shares = {}
    chosen = []
    for kind in KINDS:
        of_kind = (right_before == kind.was_right) & (right_after == kind.is_right)
        rows = np.flatnonzero(before.mated & of_kind).tolist()
        shares[kind.name] = len(rows) / queries
        # Who is right tells which image it should be, who is wrong which one it is taken for.
        finder = old if kind is NEGATIVE else new
        misled = before if kind is POSITIVE else after
        rows.sort(key=worst_margin, reverse=True)
        for row in rows[: kind.shown]:
            example = Example(
                kind=kind.name,
                query=row,
                own=own_row(finder, row, gallery),
                other=int(misled.best_other_row[row]),
            )
            chosen.append(example)
    return Examples(shares, chosen)


def own_row(query: Embedded, row: int, gallery: Embedded) -> int:
    """Returns the row of the nearest image of a query's own identity.

    Args:
        query: All queries.
        row: The query's row among them.
        gallery: Where the image is looked for.
    """
    is_own = gallery.labels == query.labels[row]
    own = np.flatnonzero(is_own)
    scores = gallery.embeddings[own] @ query.embeddings[row]
    nearest = np.argmax(scores)
    return int(own[nearest])
