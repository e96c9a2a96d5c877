"""Tells without any label how much of an upgrade an adapter keeps."""

import numpy as np

from bct_keras.adapt.adaptation import Adaptation
from bct_keras.adapt.pairs import Pairs
from bct_keras.adapt.plan import GALLERY, Plan
from bct_keras.metrics.neighbours import NEAREST, nearest, neighbours_kept
from bct_keras.vectors import normalised

QUERY_SHARE = 0.2  # of the items; the others are the gallery


def told(found: Adaptation, items: Pairs, plan: Plan) -> str:
    """Returns a line that says how many of the new encoder's nearest items are still found.

    Args:
        found: The adapter and both encoders, of stored embeddings.
        items: Items that the adapter was not fitted on.
        plan: What was asked for.
    """
    new, old = found.new.of_ids(items.ids), found.old.of_ids(items.ids)
    if plan.direction == GALLERY:
        queries, gallery = new, found.moved.of_ids(items.ids)
    else:
        queries, gallery = found.compatible.of_ids(items.ids), old
    truth = found_by(new, new, plan.seed)
    kept = neighbours_kept(truth, found_by(queries, gallery, plan.seed)).mean()
    before = neighbours_kept(truth, found_by(old, old, plan.seed)).mean()
    return (
        f"of the {NEAREST} nearest items that the new encoder finds in a gallery of its own,"
        f" {kept:.1%} are found in the old one, and {before:.1%} by the old encoder itself"
        f" ({len(items):,} items that were not fitted on; without labels that is all that can be"
        f" told). {gain_of(kept, before)}"
    )


def gain_of(kept: float, before: float) -> str:
    """Returns what the two shares mean.

    Args:
        kept: The share of the new encoder's nearest items that are found through the adapter.
        before: The share that the old encoder finds by itself.
    """
    if kept > before:
        return "The adapter finds more of them: advise compares it with the other routes"
    return "The adapter does not find more of them: the old encoder may stay"


def found_by(queries: np.ndarray, gallery: np.ndarray, seed: int) -> np.ndarray:
    """Returns the nearest gallery items [queries, 10] of those items that are drawn as queries."""
    order = np.random.default_rng(seed).permutation(len(queries))
    count = max(1, round(QUERY_SHARE * len(order)))
    return nearest(normalised(queries[order[:count]]), normalised(gallery[order[count:]]))
