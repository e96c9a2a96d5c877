"""Measures hot refresh: what new queries find while the gallery is re-embedded bit by bit."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from bct_keras.metrics.columns import Columns
from bct_keras.metrics.verification import Embedded, Sides, cosines_of

SHARES = np.linspace(0.0, 1.0, 11)
SEED = 0
SCORES_AT_ONCE = 2_000_000  # 8 MB


def random_order(rows: int) -> np.ndarray:
    """Returns the rows in an order that is left to chance, the first to be re-embedded first."""
    return np.random.default_rng(SEED).permutation(rows)


def farthest_first(gallery: Embedded) -> np.ndarray:
    """Returns the rows of a gallery, those first that lie farthest from the mean of their class.

    https://arxiv.org/abs/2509.16664 re-embeds in this order: what lies far out is found worst.

    Args:
        gallery: The old gallery, whose identities are known.

    Example:
        >>> gallery = Embedded(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), np.array([0, 0, 0]))
        >>> farthest_first(gallery)
        array([1, 0, 2])
    """
    return np.argsort(-distances_from_class_mean(gallery), kind="stable")


def distances_from_class_mean(gallery: Embedded) -> np.ndarray:
    """Returns how far each row of a gallery lies from the mean of its class, [rows]."""
    embeddings, labels = gallery.embeddings, gallery.labels
    images = np.bincount(labels)
    sums = np.zeros((len(images), embeddings.shape[1]))
    np.add.at(sums, labels, embeddings)
    means = sums / np.maximum(images, 1)[:, None]  # [identities, dims]
    return np.linalg.norm(embeddings - means[labels], axis=1)


def refreshed_rows(order: np.ndarray, share: float) -> np.ndarray:
    """Returns which rows are re-embedded, [rows] bool.

    A larger share has all the rows of a smaller one.

    Args:
        order: [rows] the rows in the order in which they are re-embedded.
        share: How much of the gallery is done.
    """
    rows = len(order)
    chosen = np.zeros(rows, bool)
    chosen[order[: round(share * rows)]] = True
    return chosen


def mixed(old: Embedded, new: Embedded, share: float) -> Embedded:
    """Returns the old gallery with so large a share of it re-embedded by the new encoder."""
    order = random_order(len(old.labels))
    chosen = refreshed_rows(order, share)
    embeddings = np.where(chosen[:, None], new.embeddings, old.embeddings)
    return Embedded(embeddings, old.labels)


def hot_refresh(
    measure: Callable[[Embedded, Embedded], dict[str, float]],
    query: Embedded,
    old: Embedded,
    new: Embedded,
    track: Callable[[Sequence[float]], Iterable[float]] = iter,
) -> dict[str, Any]:
    """Returns each metric at each share that is re-embedded, and the area under its curve.

    The area is the metric's mean over the whole refresh.

    Args:
        measure: The metrics of queries in a gallery.
        query: The new encoder's queries.
        old: The gallery by the old encoder.
        new: The gallery by the new one.
        track: Goes over the shares, as a progress bar does.
    """
    return as_curve([measure(query, mixed(old, new, share)) for share in track(SHARES.tolist())])


def as_curve(found: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Returns metrics at each of SHARES as curves, with the area under each."""
    metrics, area = {}, {}
    for metric in found[0]:
        values = [each[metric] for each in found]
        metrics[metric] = values
        area[metric] = float(np.trapezoid(values, SHARES))
    return {"share": SHARES.tolist(), "metrics": metrics, "area": area}


def rank_merging(old: Sides, new: Sides) -> dict[str, Any]:
    """Returns top-1 at each share where two encoders search two parts of the gallery.

    Old queries search what is still old, and new ones what is re-embedded. Scores of two encoders
    cannot be compared; ranks can, each as a share of the part that was searched.
    https://arxiv.org/abs/2301.03767

    Args:
        old: Queries and gallery by the old encoder.
        new: The same images by the new one.
    """
    # place = (rank + 1/2) / entries of the part. The first of the larger part is therefore first of
    # all, and top-1 is that of the larger part; of two parts alike it is the new one's.
    images = len(old.gallery.labels)
    ends = [round(share * images) for share in SHARES]
    order = random_order(images)
    of_old = found_at_first(old, order, [(end, images) for end in ends])
    of_new = found_at_first(new, order, [(0, end) for end in ends])
    values = []
    for end, found_old, found_new in zip(ends, of_old, of_new, strict=True):
        values.append(float(found_new if end >= images - end else found_old))
    area = float(np.trapezoid(values, SHARES))
    return {"share": SHARES.tolist(), "top-1": values, "area": area}


def found_at_first(
    sides: Sides, order: np.ndarray, parts: Sequence[tuple[int, int]]
) -> list[float]:
    """Returns the share of queries whose identity comes first in each part of a gallery.

    Args:
        sides: Queries and gallery.
        order: [gallery] the rows in some order.
        parts: Each as its start and end in that order, all from the start or all to the end.
    """
    bounds = sorted({bound for part in parts for bound in part})
    labels = sides.gallery.labels[order]
    identities = 1 + max(int(labels.max()), int(sides.query.labels.max()))
    step_of = np.searchsorted(np.array(bounds[1:]), np.arange(len(labels)), side="right")
    columns = Columns(labels, step_of, groups=len(bounds) - 1, identities=identities)
    entries = np.ascontiguousarray(sides.gallery.embeddings[order][columns.order].T)
    queries = len(sides.query.labels)
    step = max(1, SCORES_AT_ONCE // len(labels))
    found = np.zeros(len(parts), np.int64)
    for start in range(0, queries, step):
        scores = cosines_of(sides.query.embeddings[start : start + step], entries)
        block = columns.take_apart(scores, sides.query.labels[start : start + step])
        best_other = np.maximum.reduceat(scores, columns.ends[:-1], axis=1)  # [queries, steps]
        best_own = np.full(best_other.shape, -np.inf, scores.dtype)
        steps_of_own = columns.group_of[block.pairs.columns]
        np.maximum.at(best_own, (block.pairs.rows, steps_of_own), block.own)
        for place, (first, end) in enumerate(parts):
            steps = slice(bounds.index(first), bounds.index(end))
            nearest_own = best_own[:, steps].max(axis=1, initial=-np.inf)
            # A tie counts against us, as everywhere.
            is_first = nearest_own > best_other[:, steps].max(axis=1, initial=-np.inf)
            found[place] += np.count_nonzero(is_first)
    return (found / queries).tolist()
