"""Measures items that are nothing but stored embeddings with ids, of whatever they are.

A file lists the items, and may say which belong together. Without that the measure is how many of
the new encoder's own nearest neighbours are still found.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import artefacts
from bct_keras.encoders import Encoder
from bct_keras.encoders.stored import check_labels
from bct_keras.errors import InputError, option
from bct_keras.evaluate.groups import IDENTITY
from bct_keras.evaluate.protocol import Protocol
from bct_keras.evaluate.retrieval import Divided, divide
from bct_keras.metrics.flips import SearchedNames
from bct_keras.metrics.influence import of_shares
from bct_keras.metrics.measured import Measured
from bct_keras.metrics.neighbours import NEAREST, nearest, neighbours_kept
from bct_keras.metrics.verification import Embedded, Sides
from bct_keras.untrusted import arrays
from bct_keras.vectors import normalised

KEPT = f"neighbours kept@{NEAREST}"


def listed(file: str) -> Protocol:
    """Returns what measures the items of a list, by their labels where it has them.

    Args:
        file: A .npz file with `ids` [n], texts, and perhaps `labels` [n], numbers or names. It may
            hold embeddings too, which are not read.
    """
    path = Path(file)
    found = arrays.read_arrays(path, "a list of items", ("ids",), ("labels",))
    if found["ids"].ndim != 1 or found["ids"].dtype.kind not in "US":
        raise InputError(f"{path}: `ids` has to be [n] texts, one for each item")
    ids = arrays.texts(found["ids"], path)
    if len(set(ids)) != len(ids):
        raise InputError(f"{path}: an id stands there twice")
    if len(ids) < 2:
        raise InputError(f"{path} lists {len(ids)} items; a search needs two at least")
    labels = found.get("labels")
    if labels is None:
        return Unlabelled(path, ids)
    check_labels(labels, len(ids), path)
    return Labelled(path, ids, labels)


class Labelled(Divided):
    """Measures items with labels.

    The first half of each label's items, by their ids, is the gallery.
    """

    def __init__(self, path: Path, ids: list[str], labels: np.ndarray):
        super().__init__()
        self.path = path
        self.ids = np.array(ids)
        identities, numbers = np.unique(labels, return_inverse=True)
        self.identities = [str(name) for name in identities.tolist()]
        if len(identities) < 2:
            raise InputError(f"{path}: `labels` has one label alone; a search needs two at least")
        self.labels = numbers.ravel()
        self.division = divide(self.labels, order=np.argsort(self.ids, kind="stable"))
        if not len(self.division.query):
            raise InputError(f"{path}: every label has one item; a query needs a second one")

    def embed(self, encoder: Encoder) -> Sides:
        """Returns the queries and the gallery, out of what is stored."""
        return self.sides_of(encoder, encoder.of_ids(self.ids.tolist()))

    def names_of_images(self, by: str) -> list[str]:
        """Returns the id of each item, or its label, as `by` says."""
        if by == IDENTITY:
            return [self.identities[label] for label in self.labels]
        return self.ids.tolist()

    def searched_names(self) -> list[SearchedNames]:
        """Returns the ids of queries and gallery."""
        query = self.ids[self.division.query]
        gallery = self.ids[self.division.gallery]
        return [SearchedNames(query.tolist(), gallery.tolist())]

    def made_from(self) -> dict[str, Any]:
        """Returns what decides the numbers, besides the embeddings."""
        return {"list": artefacts.file_sha256(self.path)}


class Unlabelled(Protocol):
    """Measures items of which nobody says what they are.

    Every second one, by their ids, is a query. What the new encoder finds nearest in a gallery of
    its own is taken for the truth.

    Args:
        path: The list, for errors.
        ids: The items.
        truth: [queries, NEAREST] the rows of the gallery that a query ought to find.
    """

    def __init__(self, path: Path, ids: list[str], truth: np.ndarray | None = None):
        self.path = path
        self.ids = ids
        self.truth = truth
        order = np.argsort(np.array(ids), kind="stable")
        self.gallery, self.query = order[::2], order[1::2]

    def embed(self, encoder: Encoder) -> Sides:
        """Returns the queries and the gallery, as stored; each item is its own label."""
        embeddings = normalised(encoder.of_ids(self.ids))
        return Sides(
            query=Embedded(embeddings[self.query], self.query),
            gallery=Embedded(embeddings[self.gallery], self.gallery),
        )

    def against(self, new: Sides | None) -> Protocol:
        """Returns what measures by the neighbours that the new encoder finds."""
        if new is None:
            return self
        truth = nearest(new.query.embeddings, new.gallery.embeddings)
        return Unlabelled(self.path, self.ids, truth)

    def measure(self, query: Embedded, gallery: Embedded) -> Measured:
        """Returns how many of the true neighbours are found."""
        if self.truth is None:
            raise InputError(
                f"{self.path} has no labels, so that the new encoder's neighbours are what counts: "
                f"give {option('new')} and {option('old')}, or labels"
            )
        kept = neighbours_kept(self.truth, nearest(query.embeddings, gallery.embeddings))
        queries = np.arange(len(kept))
        return Measured(
            {KEPT: float(kept.mean())},
            lambda: {KEPT: of_shares(kept, queries, len(kept))},
            units="queries",
        )

    def notes(self, encoders: Collection[Encoder]) -> list[str]:
        """Says what is taken for the truth."""
        return [
            f"no labels: of each query the {NEAREST} items that the new encoder finds nearest in a "
            "gallery of its own are taken for right"
        ]

    def made_from(self) -> dict[str, Any]:
        """Returns what decides the numbers, besides the embeddings."""
        return {"list": artefacts.file_sha256(self.path)}
