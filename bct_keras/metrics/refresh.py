"""Measures hot refresh: what new queries find while the gallery is re-embedded bit by bit."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from bct_keras.metrics.baselines import merged_top
from bct_keras.metrics.verification import Embedded, Sides

SHARES = np.linspace(0.0, 1.0, 11)
SEED = 0


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
    found = [measure(query, mixed(old, new, share)) for share in track(SHARES.tolist())]
    metrics, area = {}, {}
    for metric in found[0]:
        values = [each[metric] for each in found]
        metrics[metric] = values
        area[metric] = float(np.trapezoid(values, SHARES))
    return {"share": SHARES.tolist(), "metrics": metrics, "area": area}


def rank_merging(old: Sides, new: Sides) -> dict[str, Any]:
    """Returns top-1 at each share where two encoders search two parts of the gallery."""
    order = random_order(len(old.gallery.labels))
    values = []
    for share in SHARES:
        refreshed = refreshed_rows(order, share)
        values.append(merged_top(old, new, refreshed))
    area = float(np.trapezoid(values, SHARES))
    return {"share": SHARES.tolist(), "top-1": values, "area": area}
