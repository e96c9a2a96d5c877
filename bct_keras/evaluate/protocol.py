"""What a protocol is: which images are embedded, what is searched in what, and the metrics that
come of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from PIL import Image

from bct_keras.data.dataset import DataSet
from bct_keras.encoders import Encoder
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.metrics.flips import SearchedNames
from bct_keras.metrics.measured import Measured, as_measured
from bct_keras.metrics.verification import Sides

NEEDED = ("embed", "measure", "made_from")


class Protocol(ABC):
    """Says how encoders are measured.

    A command builds each protocol once, by `evaluation.build_protocols`, and hands it to all that
    measure: what is embedded for one of them is there for the others, because a protocol keeps it
    in its cache by the encoder's fingerprint.

    A class of the user's own need not derive from this one: it is taken where it has `embed`,
    `measure` and `made_from`, and `adopted` adds the rest.
    """

    data: DataSet | None = None  # the labelled images, where the protocol has them as a data set
    cache: EmbeddingCache | None = None

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        return cls is Protocol and all(hasattr(other, name) for name in NEEDED)

    @abstractmethod
    def embed(self, encoder: Encoder) -> Sides:
        """Returns the queries and the gallery, as this encoder sees them."""

    @abstractmethod
    def measure(self, query: Any, gallery: Any) -> Measured | dict[str, float]:
        """Returns the metrics of one encoder's queries in the gallery of the same or another
        one.
        """

    @abstractmethod
    def made_from(self) -> dict[str, Any]:
        """Returns what decides the numbers, besides the encoders."""

    def embed_once(
        self, encoder: Encoder, images: dict[str, Any], make: Callable[[Encoder], np.ndarray]
    ) -> np.ndarray:
        """Returns the embeddings of all images [images, dims], out of the cache where they are
        there.

        Args:
            encoder: What embeds.
            images: Everything that decides the embeddings, besides the encoder.
            make: Embeds the images.
        """
        return self.cache.get(encoder, images, make) if self.cache else make(encoder)

    def metrics(self, query: Any, gallery: Any) -> dict[str, float]:
        """Returns the numbers of `measure` alone."""
        return as_measured(self.measure(query, gallery)).metrics

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
    """A protocol of the user's own, which has `embed`, `measure` and `made_from` but another
    base class.
    """

    def __init__(self, own: Any):
        self.own = own

    def embed(self, encoder: Encoder) -> Sides:
        query, gallery = self.own.embed(encoder)
        return Sides(query, gallery)

    def measure(self, query: Any, gallery: Any) -> Measured | dict[str, float]:
        return self.own.measure(query, gallery)

    def made_from(self) -> dict[str, Any]:
        return self.own.made_from()

    def notes(self, encoders: Collection[Encoder]) -> list[str]:
        """Returns what the user's own protocol has to say."""
        return self.own.notes() if hasattr(self.own, "notes") else []


def adopted(own: Any) -> Protocol:
    """Returns the protocol itself, or what makes one of the user's object."""
    return own if Protocol in type(own).__mro__ else Adopted(own)
