"""Finds queries that the new encoder gets wrong and the old one got right, and the reverse."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bct_keras.metrics.identification import Identification

EXAMPLES = 6  # of each kind
NEGATIVE, POSITIVE = "negative", "positive"
KINDS = (NEGATIVE, POSITIVE)


@dataclass(frozen=True)
class SearchedNames:
    """Holds the names of the images of one search, in the order of their rows."""

    queries: list[str]
    gallery: list[str]


def flips(
    old: Sequence[Identification], new: Sequence[Identification], names: Sequence[SearchedNames]
) -> dict[str, Any]:
    """Returns the share of queries that flip, and examples of them.

    Those queries count whose identity is in the gallery. A negative flip is a query that finds its
    identity by the old encoder and does not by the new one; a positive flip is the reverse.

    Args:
        old: What each search comes to by the old encoder's queries.
        new: What it comes to by the new encoder's, in the same order.
        names: The names of each search's queries and images.
    """
    searches = list(zip(old, new, names, strict=True))
    queries = sum(int(before.mated.sum()) for before in old)
    found: dict[str, Any] = {"examples": []}
    for kind in KINDS:
        count, examples = 0, []
        for before, after, named in searches:
            right, wrong = (before, after) if kind == NEGATIVE else (after, before)
            rows = np.flatnonzero(flipped(right, wrong)).tolist()
            count += len(rows)
            examples += [example(kind, row, wrong, named) for row in rows]
        found[kind] = count / max(queries, 1)
        found["examples"] += sorted(examples, key=lambda each: -each["margin"])[:EXAMPLES]
    return found


def flipped(right: Identification, wrong: Identification) -> np.ndarray:
    """Returns which queries [queries] find their identity by one search and not by the other."""
    found = right.mated & (right.others_above == 0)
    lost = wrong.others_above > 0
    return found & lost


def example(kind: str, row: int, wrong: Identification, names: SearchedNames) -> dict[str, Any]:
    """Returns what a report tells of one query that flips."""
    found_row = wrong.best_other_row[row]
    return {
        "kind": kind,
        "query": names.queries[row],
        "found": names.gallery[found_row],
        "margin": margin(wrong, row),
    }


def margin(found: Identification, row: int) -> float:
    """Returns by how much the wrong one was nearer than the right one."""
    return float(found.best_other[row] - found.own[row])
