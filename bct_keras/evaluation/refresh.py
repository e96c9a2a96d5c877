"""Hot refresh: what new queries find while the gallery is re-embedded bit by bit."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bct_keras import progress
from bct_keras.evaluation.baselines import merged_top
from bct_keras.evaluation.verification import Embedded, Sides

SHARES = np.linspace(0.0, 1.0, 11)
SEED = 0


def refreshed_rows(rows: int, share: float) -> np.ndarray:
    """[rows] bool; a larger share has all the rows of a smaller one."""
    order = np.random.default_rng(SEED).permutation(rows)
    chosen = np.zeros(rows, bool)
    chosen[order[: round(share * rows)]] = True
    return chosen


def mixed(old: Embedded, new: Embedded, share: float) -> Embedded:
    chosen = refreshed_rows(len(old.labels), share)
    return Embedded(np.where(chosen[:, None], new.embeddings, old.embeddings), old.labels)


def hot_refresh(
    measure: Callable[[Embedded, Embedded], dict[str, float]], query: Embedded, old: Embedded, new: Embedded
) -> dict[str, Any]:
    """Each metric at each share, and the area under the curve: its mean over the whole refresh."""
    shares = progress.track(SHARES, "hot refresh", len(SHARES), "galleries")
    found = [measure(query, mixed(old, new, share)) for share in shares]
    metrics = {metric: [each[metric] for each in found] for metric in found[0]}
    area = {metric: float(np.trapezoid(values, SHARES)) for metric, values in metrics.items()}
    return {"share": SHARES.tolist(), "metrics": metrics, "area": area}


def rank_merging(old: Sides, new: Sides) -> dict[str, Any]:
    """Returns top-1 at each share where two encoders search two parts of the gallery."""
    rows = len(old.gallery.labels)
    values = [merged_top(old, new, refreshed_rows(rows, share)) for share in SHARES]
    return {"share": SHARES.tolist(), "top-1": values, "area": float(np.trapezoid(values, SHARES))}
