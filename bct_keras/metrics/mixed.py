"""Measures one ranked list over a gallery of which a part is re-embedded and the rest is not yet.

Old entries are searched by one vector of a query and new entries by another one; `merging` makes
their scores comparable.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bct_keras import progress
from bct_keras.metrics.influence import of_shares
from bct_keras.metrics.measured import is_resolvable, rate_name
from bct_keras.metrics.merging import Merge, Parts
from bct_keras.metrics.refresh import SHARES
from bct_keras.metrics.verdict import CONFIDENCE, TOP_1, t_quantile
from bct_keras.metrics.verification import TIE, accepted_share

SCORES_AT_ONCE = 2_000_000  # 8 MB: a few such matrices stay near the processor


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
    searches = {}
    for name, order in orders.items():
        searches[name] = MixedSearches(query_labels, order, impostors, resolved)
    step = max(1, SCORES_AT_ONCE // len(gallery_labels))
    starts = range(0, len(query_labels), step)
    for start in progress.track(starts, "mixed galleries", unit="blocks"):
        rows = slice(start, start + step)
        old, new = merge.scores(rows)
        same = query_labels[rows, None] == gallery_labels
        for of_order in searches.values():
            of_order.add(old, new, same)
    return {name: of_order.curve() for name, of_order in searches.items()}


def impostor_pairs(query_labels: np.ndarray, gallery_labels: np.ndarray) -> int:
    """Returns how many pairs of a query and an entry are of two identities."""
    identities = 1 + max(int(query_labels.max()), int(gallery_labels.max()))
    queries_of = np.bincount(query_labels, minlength=identities)
    images_of = np.bincount(gallery_labels, minlength=identities)
    return len(query_labels) * len(gallery_labels) - int(queries_of @ images_of)


class MixedSearches:
    """Collects what queries find in a gallery at each share of it that is re-embedded.

    Args:
        labels: [queries]
        order: [gallery] the rows in the order in which they are re-embedded.
        impostors: How many pairs of two identities there are.
        fars: The rates at which TAR is measured.
    """

    def __init__(
        self, labels: np.ndarray, order: np.ndarray, impostors: int, fars: Sequence[float]
    ):
        self.labels = labels
        self.order = order
        self.impostors = impostors
        self.fars = fars
        kept = int(max(fars, default=0.0) * impostors) + 1
        self.at_share = []
        for share in SHARES:
            self.at_share.append(AtShare(round(share * len(order)), kept))

    def add(self, old: np.ndarray, new: np.ndarray, same: np.ndarray) -> None:
        """Takes in the scores [queries, gallery] of some queries with old and with new entries."""
        # In the order of re-embedding the first columns are new and the others old, at any share.
        old = old[:, self.order]
        new = new[:, self.order]
        same = same[:, self.order]
        row, column = np.nonzero(same)
        own_old = old[row, column]
        own_new = new[row, column]
        others_old = np.where(same, -np.inf, old)
        others_new = np.where(same, -np.inf, new)
        ends = [each.refreshed for each in self.at_share]
        best_other = best_at(ends, others_old, others_new)
        of_own_old = np.where(same, old, -np.inf)
        of_own_new = np.where(same, new, -np.inf)
        best_own = best_at(ends, of_own_old, of_own_new)
        for place, each in enumerate(self.at_share):
            is_new = column < each.refreshed
            each.genuine.append(np.where(is_new, own_new, own_old))
            each.keep_strongest(others_old, others_new)
            each.keep_found(best_own, best_other, place)

    def curve(self) -> dict[str, Any]:
        """Returns what the searches at all shares come to."""
        found = [each.metrics(self.fars, self.impostors) for each in self.at_share]
        metrics, area = {}, {}
        for metric in found[0]:
            values = [each[metric] for each in found]
            metrics[metric] = values
            area[metric] = float(np.trapezoid(values, SHARES))
        alone = {
            "old": [share_of(each.found_old) for each in self.at_share],
            "new": [share_of(each.found_new) for each in self.at_share],
        }
        lead = [each.lead(self.labels) for each in self.at_share]
        return {"metrics": metrics, "area": area, "alone": alone, "lead": lead}


class AtShare:
    """Collects what queries find at one share.

    Args:
        refreshed: How many entries are re-embedded.
        kept: How many of the highest impostors' scores are kept.
    """

    def __init__(self, refreshed: int, kept: int):
        self.refreshed = refreshed
        self.kept = kept
        self.genuine: list[np.ndarray] = []
        self.strongest = np.empty(0, np.float32)
        self.least = -np.inf  # of the strongest, once there are as many as are kept
        # [queries] each: which have their own identity at the first place
        self.found: list[np.ndarray] = []
        self.found_old: list[np.ndarray] = []  # among old entries alone
        self.found_new: list[np.ndarray] = []

    def keep_strongest(self, old: np.ndarray, new: np.ndarray) -> None:
        """Takes in the scores with others [queries, gallery], in the order of re-embedding.

        The score of a pair of one identity is -inf there.
        """
        of_new = new[:, : self.refreshed]
        of_old = old[:, self.refreshed :]
        high_of_new = of_new[of_new > self.least]
        high_of_old = of_old[of_old > self.least]
        self.strongest = np.concatenate([self.strongest, high_of_new, high_of_old])
        if len(self.strongest) >= self.kept:
            place = len(self.strongest) - self.kept
            self.strongest = np.partition(self.strongest, place)[place:]
            self.least = self.strongest[0]

    def keep_found(self, own: "BestAt", other: "BestAt", place: int) -> None:
        """Takes in which queries are found, by the best scores at the place of this share."""
        self.found_old.append(finds_own(own.old[place], other.old[place]))
        self.found_new.append(finds_own(own.new[place], other.new[place]))
        self.found.append(finds_own(own.either(place), other.either(place)))

    def metrics(self, fars: Sequence[float], impostors: int) -> dict[str, float]:
        """Returns TAR at each rate, and top-1."""
        genuine = np.concatenate(self.genuine)
        falling = np.sort(self.strongest)[::-1]
        metrics = {}
        for far in fars:
            metrics[rate_name("TAR@FAR", far)] = accepted_share(genuine, falling, far * impostors)
        metrics[TOP_1] = share_of(self.found)
        return metrics

    def lead(self, labels: np.ndarray) -> list[float]:
        """Returns the interval of how much top-1 is above that of the better part alone."""
        better = self.found_new
        if share_of(self.found_old) >= share_of(self.found_new):
            better = self.found_old
        return interval_of_difference(np.concatenate(self.found), np.concatenate(better), labels)


def share_of(found: Sequence[np.ndarray]) -> float:
    """Returns the share of the queries that are found."""
    return float(np.concatenate(found).mean())


class BestAt(NamedTuple):
    """The best score of each query at each share, [shares, queries]; -inf where there is none."""

    old: np.ndarray  # among the entries that are still old
    new: np.ndarray  # among those that are new

    def either(self, place: int) -> np.ndarray:
        """Returns the better of both, [queries]."""
        return np.maximum(self.old[place], self.new[place])


def best_at(ends: Sequence[int], old: np.ndarray, new: np.ndarray) -> BestAt:
    """Returns the best scores where so many of the first columns are new.

    Args:
        ends: [shares] how many; rising from none to all.
        old: [queries, gallery] the scores with old entries.
        new: The same with new ones.

    Example:
        >>> best_at([0, 1, 2], old=np.array([[3.0, 4.0]]), new=np.array([[5.0, 6.0]])).old
        array([[  4.],
               [  4.],
               [-inf]])
    """
    shape = (len(ends), len(old))
    best_old, best_new = np.full(shape, -np.inf), np.full(shape, -np.inf)
    for place in range(1, len(ends)):
        turned = new[:, ends[place - 1] : ends[place]]  # new since the share before
        best_of_turned = turned.max(1, initial=-np.inf)
        best_new[place] = np.maximum(best_new[place - 1], best_of_turned)
    for place in reversed(range(len(ends) - 1)):
        to_turn = old[:, ends[place] : ends[place + 1]]  # new from the next share on
        best_of_to_turn = to_turn.max(1, initial=-np.inf)
        best_old[place] = np.maximum(best_old[place + 1], best_of_to_turn)
    return BestAt(best_old, best_new)


def finds_own(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns which queries have their own identity at the first place; a tie counts against them.

    Args:
        own: [queries] the best score of their own identity; -inf where there is none.
        other: [queries] that of all others.
    """
    return (own > -np.inf) & (other <= own - TIE)


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
