"""Measures one ranked list over a gallery of which a part is re-embedded and the rest is not yet.

Old entries are searched by one vector of a query and new entries by another one; `merging` makes
their scores comparable.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bct_keras import progress
from bct_keras.metrics.influence import of_shares
from bct_keras.metrics.measured import is_resolvable, rate_name
from bct_keras.metrics.merging import Merge, Parts
from bct_keras.metrics.refresh import SHARES, refreshed_rows
from bct_keras.metrics.verdict import CONFIDENCE, TOP_1, t_quantile
from bct_keras.metrics.verification import TIE, accepted_share

SCORES_AT_ONCE = 8_000_000  # 32 MB


def refresh_curves(
    merge: Merge, parts: Parts, orders: Mapping[str, np.ndarray], fars: Sequence[float]
) -> dict[str, dict[str, Any]]:
    """Returns the curve of a gallery that is re-embedded in each order.

    A curve has `metrics`, their values at each share that is re-embedded, and `area`, the mean of
    each on the way. `alone` has top-1 of searching one part alone, and `lead` the 95 % interval,
    over identities, of how much the merged list is above the better part.

    Args:
        merge: What makes the scores with both kinds of entries comparable.
        parts: Queries and gallery by both.
        orders: [gallery] the rows in the order in which they are re-embedded, by its name.
        fars: The rates at which TAR is measured, where there are enough impostor pairs.
    """
    query_labels, gallery_labels = parts.old.query.labels, parts.old.gallery.labels
    impostors = impostor_pairs(query_labels, gallery_labels)
    resolved = [far for far in fars if is_resolvable(far, impostors)]
    searches: dict[str, list[MixedSearch]] = {}
    for name, order in orders.items():
        searches[name] = []
        for share in SHARES:
            refreshed = refreshed_rows(order, share)
            searches[name].append(MixedSearch(query_labels, refreshed, impostors, resolved))
    step = max(1, SCORES_AT_ONCE // len(gallery_labels))
    starts = range(0, len(query_labels), step)
    for start in progress.track(starts, "mixed galleries", unit="blocks"):
        rows = slice(start, start + step)
        old, new = merge.scores(rows)
        same = query_labels[rows, None] == gallery_labels
        for of_order in searches.values():
            for each in of_order:
                each.add(old, new, same)
    return {name: curve_of(of_order) for name, of_order in searches.items()}


def impostor_pairs(query_labels: np.ndarray, gallery_labels: np.ndarray) -> int:
    """Returns how many pairs of a query and an entry are of two identities."""
    identities = 1 + max(int(query_labels.max()), int(gallery_labels.max()))
    queries_of = np.bincount(query_labels, minlength=identities)
    images_of = np.bincount(gallery_labels, minlength=identities)
    return len(query_labels) * len(gallery_labels) - int(queries_of @ images_of)


class MixedSearch:
    """Collects what queries find in a gallery of which some entries are re-embedded.

    Args:
        labels: [queries]
        refreshed: [gallery] which entries are new.
        impostors: How many pairs of two identities there are.
        fars: The rates at which TAR is measured.
    """

    def __init__(
        self, labels: np.ndarray, refreshed: np.ndarray, impostors: int, fars: Sequence[float]
    ):
        self.labels = labels
        self.refreshed = refreshed
        self.impostors = impostors
        self.fars = fars
        self.kept = int(max(fars, default=0.0) * impostors) + 1
        self.genuine: list[np.ndarray] = []
        self.strongest = np.empty(0, np.float32)
        self.hits: list[np.ndarray] = []
        self.hits_old: list[np.ndarray] = []
        self.hits_new: list[np.ndarray] = []

    def add(self, old: np.ndarray, new: np.ndarray, same: np.ndarray) -> None:
        """Takes in the scores [queries, gallery] of some queries with old and with new entries."""
        refreshed = self.refreshed
        merged = np.where(refreshed, new, old)
        self.genuine.append(merged[same])
        together = np.concatenate([self.strongest, merged[~same]])
        self.strongest = strongest(together, self.kept)
        self.hits.append(finds_own(merged, same))
        self.hits_old.append(finds_own(old[:, ~refreshed], same[:, ~refreshed]))
        self.hits_new.append(finds_own(new[:, refreshed], same[:, refreshed]))

    def metrics(self) -> dict[str, float]:
        """Returns TAR at each rate, and top-1."""
        genuine = np.concatenate(self.genuine)
        falling = np.sort(self.strongest)[::-1]
        metrics = {}
        for far in self.fars:
            accepted = far * self.impostors
            metrics[rate_name("TAR@FAR", far)] = accepted_share(genuine, falling, accepted)
        metrics[TOP_1] = share_of(self.hits)
        return metrics

    def lead(self) -> list[float]:
        """Returns the interval of how much top-1 is above that of the better part alone."""
        better = self.hits_new
        if share_of(self.hits_old) >= share_of(self.hits_new):
            better = self.hits_old
        return interval_of_difference(
            np.concatenate(self.hits), np.concatenate(better), self.labels
        )


def share_of(hits: Sequence[np.ndarray]) -> float:
    """Returns the share of the queries that are found."""
    return float(np.concatenate(hits).mean())


def strongest(scores: np.ndarray, kept: int) -> np.ndarray:
    """Returns so many of the highest scores, in any order."""
    if len(scores) <= kept:
        return scores
    return np.partition(scores, len(scores) - kept)[-kept:]


def finds_own(scores: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Returns which queries have their own identity at the first place; a tie counts against them.

    Args:
        scores: [queries, gallery]
        same: [queries, gallery] which pairs are of one identity.
    """
    own = np.where(same, scores, -np.inf).max(1, initial=-np.inf)
    others = np.where(same, -np.inf, scores).max(1, initial=-np.inf)
    return (own > -np.inf) & (others <= own - TIE)


def interval_of_difference(
    after: np.ndarray, before: np.ndarray, labels: np.ndarray
) -> list[float]:
    """Returns the 95 % interval, over identities, of the difference of two shares of queries.

    Args:
        after: [queries] which are found.
        before: [queries] which are found otherwise.
        labels: [queries]
    """
    identities, units = np.unique(labels, return_inverse=True)
    differences = after.astype(float) - before
    error = of_shares(differences, units, len(identities)).standard_error()
    reach = t_quantile(0.5 + CONFIDENCE / 2, len(identities) - 1) * error
    value = float(differences.mean())
    return [value - reach, value + reach]


def curve_of(searches: Sequence[MixedSearch]) -> dict[str, Any]:
    """Returns what the searches at all shares come to."""
    found = [search.metrics() for search in searches]
    metrics, area = {}, {}
    for metric in found[0]:
        values = [each[metric] for each in found]
        metrics[metric] = values
        area[metric] = float(np.trapezoid(values, SHARES))
    alone = {
        "old": [share_of(search.hits_old) for search in searches],
        "new": [share_of(search.hits_new) for search in searches],
    }
    lead = [search.lead() for search in searches]
    return {"metrics": metrics, "area": area, "alone": alone, "lead": lead}
