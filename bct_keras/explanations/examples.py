"""Queries worth a look: whom the upgrade gets wrong first."""

from dataclasses import dataclass

import numpy as np

from bct_keras.errors import InputError
from bct_keras.evaluation.flips import margin
from bct_keras.evaluation.search import search
from bct_keras.evaluation.verification import Embedded

# (right with old/old, right with new/old): what it is called, and how many are shown
KINDS = {
    (True, False): ("negative flip", 6),
    (False, True): ("positive flip", 4),
    (False, False): ("wrong with both", 2),
    (True, True): ("right with both", 2),
}


@dataclass(frozen=True)
class Example:
    kind: str
    query: int  # its row among the queries
    own: int  # the row of the gallery's image of its own identity that is nearest
    other: int  # and of the one of another identity

    def rows(self, query: Embedded, gallery: Embedded) -> tuple[tuple[Embedded, int], ...]:
        """Where its two identities stand."""
        return (query, self.query), (gallery, self.other)


def find_examples(
    old: Embedded, new: Embedded, gallery: Embedded
) -> tuple[dict[str, float], list[Example]]:
    """Shares of the queries of each kind, and of each those that are wrong by most, or right by least."""
    if len(np.unique(gallery.labels)) < 2:
        raise InputError("the images are all of one identity; at least 2 are needed for a search")
    before, after = (search(query, gallery, highest_far=0.0).whole for query in (old, new))
    right_before, right_after = before.others_above == 0, after.others_above == 0
    shares, examples = {}, []
    for (was_right, is_right), (kind, shown) in KINDS.items():
        rows = np.flatnonzero(
            before.mated & (right_before == was_right) & (right_after == is_right)
        )
        shares[kind] = len(rows) / max(int(before.mated.sum()), 1)
        # Who is right tells which image it should be, who is wrong which one it is taken for.
        finder = old if kind == "negative flip" else new
        misled = before if kind == "positive flip" else after
        nearest = sorted(
            rows.tolist(), key=lambda row: -max(margin(before, row), margin(after, row))
        )[:shown]
        examples += [
            Example(kind, row, own_row(finder, row, gallery), int(misled.best_other_row[row]))
            for row in nearest
        ]
    return shares, examples


def own_row(query: Embedded, row: int, gallery: Embedded) -> int:
    own = np.flatnonzero(gallery.labels == query.labels[row])
    return int(own[np.argmax(gallery.embeddings[own] @ query.embeddings[row])])
