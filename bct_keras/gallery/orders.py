"""In which order backfill embeds entries anew: (ids, labels) -> positions, the first to be done
first.
"""

from collections.abc import Callable

import numpy as np

from bct_keras.untrusted.reading import read_text

Order = Callable[[list[str], list[str]], np.ndarray]


def stored() -> Order:
    """Returns the entries as they were added."""
    return lambda ids, labels: np.arange(len(ids))


def by_label() -> Order:
    """Returns one identity after the other: whichever is done is done whole."""
    return lambda ids, labels: np.argsort(np.array(labels, object), kind="stable")


def random(seed: int = 0) -> Order:
    """Returns them in random order, so that every share done is a fair sample of all."""
    return lambda ids, labels: np.random.default_rng(seed).permutation(len(ids))


def listed(file: str) -> Order:
    """Returns the ids in a text file, one a line, in its order, then all others.

    Such as those most often searched for.
    """

    def order(ids: list[str], labels: list[str]) -> np.ndarray:
        lines = read_text(file).splitlines()
        rank = {ident: line for line, ident in reversed(list(enumerate(lines)))}
        return np.argsort([rank.get(ident, len(lines)) for ident in ids], kind="stable")

    return order
