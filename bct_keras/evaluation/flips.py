"""Which queries the new encoder gets wrong that the old one got right, and the reverse."""

from typing import Any

import numpy as np

from bct_keras.evaluation.identification import Identification
from bct_keras.evaluation.measured import Measured

EXAMPLES = 6  # of each kind


def flips(old: Measured, cross: Measured, names: list[tuple[list[str], list[str]]]) -> dict[str, Any]:
    """Shares of the queries whose identity is in the gallery; `names` are those of queries and gallery, per search."""
    found: dict[str, Any] = {"examples": []}
    searches = list(zip(old.searches, cross.searches, names, strict=True))
    queries = sum(int(before.mated.sum()) for before, _, _ in searches)
    for kind in ("negative", "positive"):
        count, examples = 0, []
        for before, after, (query_names, gallery_names) in searches:
            right, wrong = (before, after) if kind == "negative" else (after, before)
            flipped = right.mated & (right.others_above == 0) & (wrong.others_above > 0)
            count += int(flipped.sum())
            examples += [
                {
                    "kind": kind,
                    "query": query_names[row],
                    "found": gallery_names[wrong.best_other_row[row]],
                    "margin": margin(wrong, row),
                }
                for row in np.flatnonzero(flipped).tolist()
            ]
        found[kind] = count / max(queries, 1)
        found["examples"] += sorted(examples, key=lambda each: -each["margin"])[:EXAMPLES]
    return found


def margin(found: Identification, row: int) -> float:
    """By how much the wrong one was nearer than the right one."""
    return float(found.best_other[row] - found.own[row])
