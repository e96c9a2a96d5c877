"""Embeds a gallery's entries anew with another encoder, while searches go on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bct_keras import progress
from bct_keras.errors import InputError
from bct_keras.gallery.facts import KnownEncoder
from bct_keras.gallery.orders import Listed, Order
from bct_keras.gallery.refilled import Refilled

# Entries that are embedded and made safe together; a stop loses the work on one such lot at most.
AT_ONCE = 256


class Images(Protocol):
    """Images that are found by their ids."""

    def __contains__(self, ident: object) -> bool:
        """Tells whether there is an image with this id."""
        ...

    def read(self, ids: list[str]) -> np.ndarray:
        """Reads the images of ids [ids, size, size, 3] uint8."""
        ...


class Items(Protocol):
    """What the entries are embedded from, found by their ids."""

    def __contains__(self, ident: object) -> bool:
        """Tells whether there is an item with this id."""
        ...

    def embeddings_of(self, ids: list[str]) -> np.ndarray:
        """Returns the new embeddings of ids [ids, dims]."""
        ...


@dataclass(frozen=True)
class EmbeddedImages:
    """Images that are embedded when they are asked for."""

    images: Images
    embed: Callable[[np.ndarray], np.ndarray]

    def __contains__(self, ident: object) -> bool:
        return ident in self.images

    def embeddings_of(self, ids: list[str]) -> np.ndarray:
        """Returns the new embeddings of ids [ids, dims]."""
        return self.embed(self.images.read(ids))


def backfill(
    gallery: Refilled,
    encoder: KnownEncoder,
    items: Items,
    order: Order,
) -> tuple[int, list[str]]:
    """Returns how many were embedded anew, and the ids of those that have no image.

    Those without an image stay as they are. What is done is known by its encoder, so that a second
    run goes on where the first was stopped.
    """
    gallery.refresh()
    gallery.begin_writing(encoder)
    # Else nobody could search while it runs: the old queries do not fit the new entries, nor the
    # new ones the old.
    gallery.check_may_replace(encoder)
    ids, labels = gallery.entries_of_others(encoder.fingerprint)
    without = [ident for ident in ids if ident not in items]
    if ids and len(without) == len(ids):
        raise InputError(
            f"none of the {len(ids):,} entries to embed anew has an image in this data set"
        )
    listed = Listed(ids, labels, lambda: gallery.embedded(ids))
    chosen = []
    for position in order(listed).tolist():
        if ids[position] in items:
            chosen.append(position)
    replaced = 0
    with progress.bar(f"embedding {gallery.name} anew", len(chosen), "entries") as done:
        for lot in lots(chosen):
            ids_of_lot = [ids[position] for position in lot]
            labels_of_lot = [labels[position] for position in lot]
            embeddings = items.embeddings_of(ids_of_lot)
            replaced += gallery.replace(encoder, ids_of_lot, labels_of_lot, embeddings)
            done.update(len(lot))
    return replaced, without


def lots(positions: list[int]) -> Iterator[list[int]]:
    """Yields the positions in pieces of AT_ONCE."""
    for start in range(0, len(positions), AT_ONCE):
        yield positions[start : start + AT_ONCE]
