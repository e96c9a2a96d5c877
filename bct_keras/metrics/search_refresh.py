"""Searches a gallery at each share of it that is re-embedded, comparing with each entry twice.

Every query is compared once with all old and once with all new entries. Entries that are
re-embedded in the same step are one group: what a query finds at any share is then a sum over
groups, of the new ones up to there and of the old ones from there on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bct_keras import progress
from bct_keras.metrics import identification
from bct_keras.metrics.columns import Columns, TakenApart, arranged, of_queries
from bct_keras.metrics.identification import Identification
from bct_keras.metrics.measured import is_resolvable, rate_name
from bct_keras.metrics.ranking import RECALL_RANKS
from bct_keras.metrics.strongest import reached_by, sampled_rows
from bct_keras.metrics.verification import Embedded, accepted_share, check_finite, cosines_of

SCORES_AT_ONCE = 2_000_000  # 8 MB


@dataclass(frozen=True)
class AtShare:
    """Holds what all queries find at one share."""

    genuine: np.ndarray  # [pairs of one identity]
    impostors: np.ndarray  # [kept] the highest scores with others, falling
    impostor_pairs: float
    whole: Identification  # in the whole gallery
    halves: tuple[Identification, ...]  # in the gallery of every other identity
    average_precision: np.ndarray  # [queries]
    recall: np.ndarray  # [queries]

    def rates(self, fars: Sequence[float], ranks: Sequence[int]) -> dict[str, float]:
        """Returns TAR at each FAR where enough impostors are accepted, and top-k."""
        metrics = {}
        for far in fars:
            if is_resolvable(far, self.impostor_pairs):
                accepted = far * self.impostor_pairs
                metrics[rate_name("TAR@FAR", far)] = accepted_share(
                    self.genuine, self.impostors, accepted
                )
        counts = identification.rank_counts(self.whole, ranks)
        for rank, count in zip(ranks, counts, strict=True):
            metrics[f"top-{rank}"] = count / len(self.whole.mated)
        return metrics


@dataclass
class Found:
    """Collects what the queries find at one share, a block of them after the other."""

    genuine: list[np.ndarray] = field(default_factory=list)
    own: list[np.ndarray] = field(default_factory=list)
    average_precision: list[np.ndarray] = field(default_factory=list)
    recall: list[np.ndarray] = field(default_factory=list)
    best: list[np.ndarray] = field(default_factory=list)  # [halves, queries] each
    above: list[np.ndarray] = field(default_factory=list)  # [halves, queries] each


class RefreshSearch:
    """Searches queries in a gallery at each share that is re-embedded.

    Args:
        query: The new encoder's queries.
        old: The gallery by the old encoder.
        new: The gallery by the new one.
        order: [gallery] the rows in the order in which they are re-embedded.
        ends: [shares] how many are re-embedded at each share, rising.
        highest_far: The highest rate that TAR is wanted at.
    """

    def __init__(
        self,
        query: Embedded,
        old: Embedded,
        new: Embedded,
        order: np.ndarray,
        ends: Sequence[int],
        highest_far: float,
    ):
        check_finite(query, old, new)
        self.query = query
        images, queries = len(old.labels), len(query.labels)
        identities = 1 + max(int(query.labels.max()), int(old.labels.max()))
        self.in_gallery = np.bincount(old.labels, minlength=identities) > 0
        queries_of = np.bincount(query.labels, minlength=identities)
        images_of = np.bincount(old.labels, minlength=identities)
        self.impostor_pairs = queries * images - int(queries_of @ images_of)
        self.kept = min(int(highest_far * self.impostor_pairs) + 1, self.impostor_pairs)
        self.shares = len(ends)
        # An entry of step s is new from the share s + 1 on.
        step_of = np.empty(images, np.int64)
        step_of[order] = np.searchsorted(np.array(ends[1:]), np.arange(images), side="right")
        half_of = old.labels % 2
        self.columns = Columns(
            old.labels, step_of * 2 + half_of, groups=2 * (self.shares - 1), identities=identities
        )
        self.step_of_column = self.columns.group_of // 2
        self.galleries = (arranged(old, self.columns), arranged(new, self.columns))

    def search(self) -> list[AtShare]:
        """Returns what is found at each share."""
        for least in (self.likely_least(), -np.inf):
            found = self.collect(least)
            if found:
                return found
        raise AssertionError("all scores were kept, and were too few")

    def likely_least(self) -> float:
        """Returns a score that enough impostor pairs are likely to reach at every share."""
        rows = sampled_rows(len(self.query.labels), len(self.columns.labels))
        if rows is None:
            return -np.inf
        labels = self.query.labels[rows]
        queries = self.query.embeddings[rows]
        old, new = (cosines_of(queries, entries) for entries in self.galleries)
        self.columns.take_apart(old, labels)
        self.columns.take_apart(new, labels)
        guesses = []
        for share in range(self.shares):
            mixed = np.where(self.step_of_column < share, new, old)
            guesses.append(reached_by(mixed, self.kept / self.impostor_pairs))
        return min(guesses)

    def collect(self, least: float) -> list[AtShare] | None:
        """Searches all queries; returns None where too few impostors reach `least`."""
        found = [Found() for _ in range(self.shares)]
        # Of old and of new entries, the impostors' scores of each step
        strongest: list[list[list[np.ndarray]]] = [
            [[] for _ in range(self.shares - 1)] for _ in self.galleries
        ]
        step = max(1, SCORES_AT_ONCE // len(self.columns.labels))
        starts = range(0, len(self.query.labels), step)
        for start in progress.track(starts, "hot refresh", unit="blocks"):
            rows = slice(start, start + step)
            blocks = []
            for entries, of_steps in zip(self.galleries, strongest, strict=True):
                scores = cosines_of(self.query.embeddings[rows], entries)
                block = self.columns.take_apart(scores, self.query.labels[rows])
                self.keep_strongest(block.others, least, of_steps)
                self.columns.sort_groups(block.others)
                blocks.append(block)
            self.add(blocks[0], blocks[1], found)
        return self.finish(found, strongest)

    def keep_strongest(
        self, scores: np.ndarray, least: float, of_steps: list[list[np.ndarray]]
    ) -> None:
        """Keeps the scores with others that reach `least`, by the step of their entry."""
        for place, of_step in enumerate(of_steps):
            part = scores[:, self.columns.ends[2 * place] : self.columns.ends[2 * place + 2]]
            high = part[part >= least]
            of_step.append(high[high > -np.inf])

    def add(self, old: TakenApart, new: TakenApart, found: list[Found]) -> None:
        """Takes in what some queries find among old entries and among new ones."""
        rows = old.pairs.rows
        pair_step = self.step_of_column[old.pairs.columns]
        # [old or new threshold][old or new entries] -> [steps, halves, pairs]
        above = []
        for own in (old.own, new.own):
            of_entries = []
            for block in (old, new):
                counts = self.columns.others_above(block, own, is_sorted=True)
                of_entries.append(counts.reshape(self.shares - 1, 2, len(own)))
            above.append(of_entries)
        best_old, best_new = (
            self.columns.best(block.others).scores.reshape(self.shares - 1, 2, -1)
            for block in (old, new)
        )
        for share, each in enumerate(found):
            is_new = pair_step < share
            own = np.where(is_new, new.own, old.own)
            counts = []
            for of_entries in above:
                counts.append(of_entries[0][share:].sum(axis=0) + of_entries[1][:share].sum(axis=0))
            above_own = np.where(is_new, counts[1], counts[0])  # [halves, pairs]
            of_each = of_queries(len(old.others), rows, own, above_own.sum(axis=0), RECALL_RANKS)
            each.genuine.append(own)
            each.own.append(of_each.own)
            each.average_precision.append(of_each.average_precision)
            each.recall.append(of_each.recall)
            each.best.append(
                np.maximum(
                    best_old[share:].max(axis=0, initial=-np.inf),
                    best_new[:share].max(axis=0, initial=-np.inf),
                )
            )
            each.above.append(self.above_best_own(of_each.own, above_own, of_each.best_pair))

    def above_best_own(
        self, own: np.ndarray, above: np.ndarray, best_pair: np.ndarray
    ) -> np.ndarray:
        """Returns how many others are as near as each query's best own image [halves, queries].

        They are all others where it has none.
        """
        images = np.bincount(self.columns.group_of % 2, minlength=2)[:, None]  # [halves, 1]
        of_best = above[:, best_pair] if above.shape[1] else images
        return np.where(own > -np.inf, of_best, images)

    def finish(
        self, found: list[Found], strongest: list[list[list[np.ndarray]]]
    ) -> list[AtShare] | None:
        """Returns what the search comes to at each share."""
        of_old, of_new = strongest
        shares = []
        for share, each in enumerate(found):
            parts = []
            for of_step in [*of_new[:share], *of_old[share:]]:
                parts += of_step
            impostors = np.concatenate(parts)
            if len(impostors) < self.kept:
                return None
            place = len(impostors) - self.kept
            falling = np.sort(np.partition(impostors, place)[place:])[::-1]
            shares.append(self.at_share(each, falling))
        return shares

    def at_share(self, found: Found, impostors: np.ndarray) -> AtShare:
        """Returns what the search comes to at one share."""
        labels = self.query.labels
        mated = self.in_gallery[labels]
        own = np.concatenate(found.own)
        best = np.concatenate(found.best, axis=1)
        above = np.concatenate(found.above, axis=1)
        nowhere = np.zeros(len(labels), np.int64)  # which image was best is not asked here
        halves = []
        for half in (0, 1):
            inside = mated & (labels % 2 == half)
            halves.append(
                Identification(
                    identities=labels,
                    mated=inside,
                    own=np.where(inside, own, -np.inf),
                    best_other=best[half],
                    others_above=above[half],
                    best_other_row=nowhere,
                )
            )
        whole = Identification(
            identities=labels,
            mated=mated,
            own=own,
            best_other=best.max(axis=0),
            others_above=above.sum(axis=0),
            best_other_row=nowhere,
        )
        return AtShare(
            genuine=np.concatenate(found.genuine),
            impostors=impostors,
            impostor_pairs=float(self.impostor_pairs),
            whole=whole,
            halves=tuple(halves),
            average_precision=np.concatenate(found.average_precision),
            recall=np.concatenate(found.recall),
        )
