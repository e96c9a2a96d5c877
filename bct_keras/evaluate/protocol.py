"""Says what a protocol is.

It decides which images are embedded, what is searched in what, and which metrics come of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from PIL import Image

from bct_keras import progress
from bct_keras.data.dataset import DataSet
from bct_keras.encoders import Encoder
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.metrics.flips import SearchedNames
from bct_keras.metrics.measured import Measured, as_measured
from bct_keras.metrics.refresh import hot_refresh
from bct_keras.metrics.verification import Sides

NEEDED = ("embed", "measure", "made_from")


class Protocol(ABC):
    """Says how encoders are measured.

    A command builds each protocol once, by `evaluate.build_protocols`, and hands it to all that
    measure: what is embedded for one of them is there for the others, because a protocol keeps it
    in its cache by the encoder's fingerprint.

    A class of the user's own need not derive from this one: it is taken where it has `embed`,
    `measure` and `made_from`, and `adopted` adds the rest.
    """

    data: DataSet | None = None  # the labelled images, where the protocol has them as a data set
    cache: EmbeddingCache | None = None

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        """Tells whether a class of the user's own has what a protocol needs."""
        if cls is not Protocol:
            return NotImplemented
        return all(hasattr(other, name) for name in NEEDED)

    @abstractmethod
    def embed(self, encoder: Encoder) -> Sides:
        """Returns the queries and the gallery, as this encoder sees them."""

    @abstractmethod
    def measure(self, query: Any, gallery: Any) -> Measured | dict[str, float]:
        """Returns the metrics of one encoder's queries in its own or another one's gallery."""

    @abstractmethod
    def made_from(self) -> dict[str, Any]:
        """Returns what decides the numbers, besides the encoders."""

    def embed_once(
        self, encoder: Encoder, images: dict[str, Any], make: Callable[[Encoder], np.ndarray]
    ) -> np.ndarray:
        """Returns the embeddings of all images [images, dims], out of the cache if there.

        Args:
            encoder: What embeds.
            images: Everything that decides the embeddings, besides the encoder.
            make: Embeds the images.
        """
        if self.cache is None:
            return make(encoder)
        return self.cache.get(encoder, images, make)

    def metrics(self, query: Any, gallery: Any) -> dict[str, float]:
        """Returns the numbers of `measure` alone."""
        measured = as_measured(self.measure(query, gallery))
        return measured.metrics

    def refreshed(self, query: Any, old: Any, new: Any) -> dict[str, Any]:
        """Returns each metric at each share of an old gallery that is re-embedded.

        Args:
            query: The new encoder's queries.
            old: The gallery by the old encoder.
            new: The gallery by the new one.
        """
        return hot_refresh(
            self.metrics,
            query=query,
            old=old,
            new=new,
            track=lambda shares: progress.track(shares, "hot refresh", len(shares), "galleries"),
        )

    def against(self, new: Sides | None) -> "Protocol":
        """Returns what measures; a protocol without labels takes what the new encoder finds."""
        return self

    def counts(self) -> dict[str, int]:
        """Returns how many identities, images and queries it has, by their names."""
        return {}

    def notes(self, encoders: Collection[Encoder]) -> list[str]:
        """Returns sentences for the report of these encoders, which were embedded before."""
        return []

    def searched(self, sides: Sides) -> Sides | None:
        """Returns which queries are searched in which gallery, by rank; None where nothing is."""
        return None

    def searched_names(self) -> list[SearchedNames]:
        """Returns the names of the images of each search of `measure`."""
        return []

    def pictures(self, names: Collection[str]) -> dict[str, Image.Image]:
        """Returns those images of `searched_names` that can be shown."""
        return {}


class Adopted(Protocol):
    """Makes a protocol of the user's object.

    The object has `embed`, `measure` and `made_from`, but another base class.
    """

    def __init__(self, own: Any):
        self.own = own

    def embed(self, encoder: Encoder) -> Sides:
        """Returns the queries and the gallery, as the user's object gives them."""
        query, gallery = self.own.embed(encoder)
        return Sides(query, gallery)

    def measure(self, query: Any, gallery: Any) -> Measured | dict[str, float]:
        """Returns what the user's object measures."""
        return self.own.measure(query, gallery)

    def made_from(self) -> dict[str, Any]:
        """Returns what decides the numbers of the user's object."""
        return self.own.made_from()

    def notes(self, encoders: Collection[Encoder]) -> list[str]:
        """Returns what the user's own protocol has to say."""
        if not hasattr(self.own, "notes"):
            return []
        return self.own.notes()


def adopted(own: Any) -> Protocol:
    """Returns the protocol itself, or what makes one of the user's object."""
    if Protocol in type(own).__mro__:
        return own
    return Adopted(own)
