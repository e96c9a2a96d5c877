"""The embeddings of the same items by two encoders, checked, and divided for the fit."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bct_keras.errors import InputError
from bct_keras.vectors import normalised

QUERY, GALLERY = "query", "gallery"
DIRECTIONS = (QUERY, GALLERY)  # what an adapter maps: the queries, or the old gallery
ALIKE = 1e-6  # embeddings at length 1 that differ by less in every coordinate are the same


@dataclass(frozen=True)
class Pairs:
    """Two embeddings of each item, at length 1 in float64, and the class of each."""

    source: np.ndarray  # [n, source dims]
    target: np.ndarray  # [n, target dims]
    labels: np.ndarray  # [n] int32; without labels every item is a class of its own
    labelled: bool
    direction: str  # QUERY: the source is the newer encoder's, to search with; GALLERY: the target

    @property
    def newer(self) -> np.ndarray:
        """Returns the embeddings of the newer encoder, whose neighbours are those to find."""
        return self.source if self.direction == QUERY else self.target

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, chosen: np.ndarray) -> "Pairs":
        """Returns the pairs of these rows."""
        return Pairs(
            source=self.source[chosen],
            target=self.target[chosen],
            labels=self.labels[chosen],
            labelled=self.labelled,
            direction=self.direction,
        )


@dataclass(frozen=True)
class Division:
    """Pairs to fit on, and pairs that decide when to stop."""

    fitted: Pairs
    held_out: Pairs


def checked_pairs(source: Any, target: Any, labels: Any = None, direction: str = QUERY) -> Pairs:
    """Returns the pairs of two arrays, row by row, or raises where they allow no fit."""
    if direction not in DIRECTIONS:
        raise InputError(f"direction={direction!r} is none: {' or '.join(DIRECTIONS)}")
    source = checked_embeddings(source, "source")
    target = checked_embeddings(target, "target")
    if len(source) != len(target):
        raise InputError(
            f"there are {len(source):,} source embeddings and {len(target):,} target embeddings,"
            " and each row of the one has to be the item of the same row of the other"
        )
    if len(source) < 2:
        raise InputError("an adapter needs pairs of embeddings to fit, and there is one pair only")
    check_differ(source, "source")
    check_differ(target, "target")
    if labels is None:
        numbers = np.arange(len(source), dtype=np.int32)
    else:
        numbers = checked_labels(labels, len(source))
    return Pairs(source, target, numbers, labelled=labels is not None, direction=direction)


def checked_embeddings(given: Any, side: str) -> np.ndarray:
    """Returns [n, dims] at length 1, in float64."""
    found = np.asarray(given)
    if found.ndim != 2 or not found.size or found.dtype.kind not in "biuf":
        raise InputError(
            f"{side} embeddings have to be numbers, [n, dims], and these are {found.dtype}"
            f" {list(found.shape)}"
        )
    with np.errstate(over="ignore"):
        found = found.astype(np.float32)  # what the adapter will be given
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise InputError(
            f"the {side} embedding of row {bad[0]} is not a finite number, of {len(bad)} row(s)"
            " in all"
        )
    largest = np.abs(found).max(axis=1, keepdims=True).astype(np.float64)
    zero = np.flatnonzero(largest == 0)
    if len(zero):
        raise InputError(
            f"the {side} embedding of row {zero[0]} is nothing but zeros, of {len(zero)} row(s)"
            " in all, and has no direction"
        )
    return normalised(found / largest)


def check_differ(embeddings: np.ndarray, side: str) -> None:
    """Raises where all embeddings are the same, so that they tell nothing of the items."""
    if np.abs(embeddings - embeddings[0]).max() < ALIKE:
        raise InputError(
            f"all {len(embeddings):,} {side} embeddings have the same direction, and tell nothing"
            " of the items"
        )


def checked_labels(given: Any, count: int) -> np.ndarray:
    """Returns the labels as numbers from 0 on; they may be names."""
    found = np.asarray(given)
    if found.shape != (count,):
        raise InputError(
            f"labels have to be [{count}], one for each pair, and these are {list(found.shape)}"
        )
    if found.dtype.kind not in "iuUS":
        raise InputError(f"labels have to be whole numbers or names, and these are {found.dtype}")
    _, numbers = np.unique(found, return_inverse=True)
    return numbers.astype(np.int32)


def divided(pairs: Pairs, share: float, seed: int) -> Division:
    """Holds a share of the classes out, all rows of each; at least one is on either side.

    Where there is one class alone, a share of its rows is held out.
    """
    if not 0 < share < 1:
        raise InputError(f"held_out={share:g} has to be between 0 and 1")
    classes = pairs.labels
    if classes.min() == classes.max():
        classes = np.arange(len(pairs))
    count = int(classes.max()) + 1
    held_count = min(max(1, round(share * count)), count - 1)
    order = np.random.default_rng(seed).permutation(count)
    held = np.isin(classes, order[:held_count])
    fitted = np.flatnonzero(~held)
    held_out = np.flatnonzero(held)
    return Division(fitted=pairs.rows(fitted), held_out=pairs.rows(held_out))
