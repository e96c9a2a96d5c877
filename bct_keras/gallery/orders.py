"""Orders in which backfill embeds entries anew.

An order takes ids and labels and returns positions among them, the first to be done first.
"""

from collections.abc import Callable

import numpy as np

from bct_keras.untrusted.reading import read_text

Order = Callable[[list[str], list[str]], np.ndarray]


def stored() -> Order:
    """Returns the order in which the entries were added."""
    return lambda ids, labels: np.arange(len(ids))


def by_label() -> Order:
    """Returns the order of identities: whichever is done is done whole."""
    return lambda ids, labels: np.argsort(np.array(labels, object), kind="stable")


def random(seed: int = 0) -> Order:
    """Returns a random order, so that every share done is a fair sample of all."""
    return lambda ids, labels: np.random.default_rng(seed).permutation(len(ids))


def listed(file: str) -> Order:
    """Returns the order of a text file of ids, one a line; all other entries come after them.

    The file may list, for example, those that are most often searched for.
    """

    def order(ids: list[str], labels: list[str]) -> np.ndarray:
        lines = read_text(file).splitlines()
        rank_of: dict[str, int] = {}
        for rank, ident in enumerate(lines):
            rank_of.setdefault(ident, rank)
        ranks = [rank_of.get(ident, len(lines)) for ident in ids]
        return np.argsort(ranks, kind="stable")

    return order
