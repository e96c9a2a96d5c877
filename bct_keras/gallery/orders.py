"""Orders in which backfill embeds entries anew.

An order takes entries and returns positions among them, the first to be done first.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from bct_keras.metrics.refresh import distances_from_class_mean
from bct_keras.metrics.verification import Embedded
from bct_keras.untrusted.reading import read_text


@dataclass(frozen=True)
class Group:
    """Entries that one encoder has made."""

    positions: np.ndarray  # [group]
    embeddings: np.ndarray  # [group, dims] of length 1


@dataclass(frozen=True)
class Listed:
    """The entries that are to be embedded anew."""

    ids: list[str]
    labels: list[str]
    # Reads what they are embedded as now, which most orders need not know.
    groups: Callable[[], Iterable[Group]]


Order = Callable[[Listed], np.ndarray]


def stored() -> Order:
    """Returns the order in which the entries were added."""
    return lambda entries: np.arange(len(entries.ids))


def by_label() -> Order:
    """Returns the order of identities: whichever is done is done whole."""
    return lambda entries: np.argsort(np.array(entries.labels, object), kind="stable")


def random(seed: int = 0) -> Order:
    """Returns a random order, so that every share done is a fair sample of all."""
    return lambda entries: np.random.default_rng(seed).permutation(len(entries.ids))


def farthest() -> Order:
    """Returns the order by distance from the mean of the entries with the same label.

    What lies farthest is done first, for it is found worst (https://arxiv.org/abs/2509.16664).
    """

    def order(entries: Listed) -> np.ndarray:
        distances = np.zeros(len(entries.ids))
        _, labels = np.unique(np.array(entries.labels, object), return_inverse=True)
        for group in entries.groups():
            embedded = Embedded(group.embeddings, labels[group.positions])
            distances[group.positions] = distances_from_class_mean(embedded)
        return np.argsort(-distances, kind="stable")

    return order


def listed(file: str) -> Order:
    """Returns the order of a text file of ids, one a line; all other entries come after them.

    The file may list, for example, those that are most often searched for.
    """

    def order(entries: Listed) -> np.ndarray:
        lines = read_text(file).splitlines()
        rank_of: dict[str, int] = {}
        for rank, ident in enumerate(lines):
            rank_of.setdefault(ident, rank)
        ranks = [rank_of.get(ident, len(lines)) for ident in entries.ids]
        return np.argsort(ranks, kind="stable")

    return order
