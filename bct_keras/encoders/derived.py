"""Encoders that are made of others: one behind an adapter, and two whose embeddings are fused."""

import numpy as np
import tensorflow as tf

from bct_keras import artefacts
from bct_keras.adapters import Adapter
from bct_keras.data.images import resized
from bct_keras.encoders.encoder import DerivedEncoder, Encoder
from bct_keras.encoders.in_memory import model_fingerprint
from bct_keras.errors import InputError
from bct_keras.specs import quoted
from bct_keras.vectors import normalised


class AdaptedEncoder(DerivedEncoder):
    """Embeds by an encoder, and maps what it gives by an adapter.

    Behind the new encoder an adapter new -> old gives queries for the old gallery; behind the old
    encoder an adapter old -> new gives the gallery moved to the new one.

    Args:
        encoder: The source of the adapter. Its own embeddings are what is mapped.
        adapter: A fitted adapter.
        name: What loads the adapter again: its file.
    """

    def __init__(self, encoder: Encoder, adapter: Adapter, name: str = "the adapter in memory"):
        if adapter.source_dims != encoder.dims:
            raise InputError(
                f"{name} takes embeddings of {adapter.source_dims} dimensions, and {encoder.spec}"
                f" gives {encoder.dims}"
            )
        super().__init__(adapter.target_dims, encoder)
        self.encoder = encoder
        self.adapter = adapter
        self.adapter_file = name
        self.spec = f"adapted({quoted(encoder.spec)}, {quoted(name)})"

    @property
    def fingerprint(self) -> str:
        """Names the encoder and the adapter."""
        return adapted_fingerprint(self.encoder.fingerprint, self.adapter)

    def derive(self, *embeddings: np.ndarray) -> np.ndarray:
        """Returns what the adapter makes of the encoder's embeddings."""
        (found,) = embeddings
        return self.adapter.predict(np.asarray(found, np.float32), verbose=0)


def adapted_fingerprint(encoder: str, adapter: Adapter) -> str:
    """Returns the fingerprint of an encoder behind an adapter, by that of the encoder alone."""
    return artefacts.fingerprint(["adapted", encoder, model_fingerprint(adapter, "the adapter")])


class FusedEncoder(DerivedEncoder):
    """Embeds an image by a new and by the old encoder, for a query in the old gallery.

    y = weight * unit(n) + (1 - weight) * unit(o), at length 1

    n is what the new encoder gives for the old gallery, `new.compatible`, and o the old embedding.

    Args:
        new: The new encoder.
        old: The old one, which has to be run for each query too.
        weight: How much the new one counts, from 0 to 1.
    """

    def __init__(self, new: Encoder, old: Encoder, weight: float = 0.5):
        if not 0 <= weight <= 1:
            raise InputError(f"weight={weight:g} of fused has to be between 0 and 1")
        compatible = new.compatible
        if compatible.dims != old.dims:
            raise InputError(
                f"{new.spec} has {compatible.dims} compatible dimensions and {old.spec} {old.dims}:"
                " they cannot be fused"
            )
        super().__init__(old.dims, compatible, old)
        self.new = new
        self.old = old
        self.weight = weight
        self.spec = f"fused({quoted(new.spec)}, {quoted(old.spec)}, weight={weight:g})"

    @property
    def fingerprint(self) -> str:
        """Names both encoders and the weight."""
        return artefacts.fingerprint(
            ["fused", self.new.fingerprint, self.old.fingerprint, f"{self.weight:g}"]
        )

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Returns the embeddings [batch, dims] of images of the new encoder's size."""
        found = []
        for source in self.sources:
            found.append(source.embed(at_size(images, source)))
        return self.derive(*found)

    def derive(self, *embeddings: np.ndarray) -> np.ndarray:
        """Returns the weighted mean of the new and the old embeddings, at length 1."""
        new, old = embeddings
        return fused(new, old, self.weight)


class TwoSpaces(DerivedEncoder):
    """Embeds by one encoder, and searches an old gallery by another one that is made of it.

    It is what an encoder of two outputs is, where the encoder is in no file that could have them.

    Args:
        encoder: Whose embeddings new entries have.
        compatible: What the old gallery is searched with, such as an `AdaptedEncoder`.
    """

    def __init__(self, encoder: Encoder, compatible: Encoder):
        super().__init__(encoder.dims, encoder)
        self.of_old_gallery = compatible
        self.compatible_dims = compatible.dims
        self.spec = f"two_spaces({quoted(encoder.spec)}, {quoted(compatible.spec)})"

    @property
    def compatible(self) -> Encoder:
        """Returns the encoder that the old gallery is searched with."""
        return self.of_old_gallery

    @property
    def fingerprint(self) -> str:
        """Names both encoders."""
        names = [self.sources[0].fingerprint, self.of_old_gallery.fingerprint]
        return artefacts.fingerprint(["two spaces", *names])

    def derive(self, *embeddings: np.ndarray) -> np.ndarray:
        """Returns the embeddings of the encoder as they are."""
        (found,) = embeddings
        return found


def fused(new: np.ndarray, old: np.ndarray, weight: float) -> np.ndarray:
    """Returns the weighted mean of two embeddings of each image, at length 1.

    Args:
        new: [n, dims] of any length.
        old: [n, dims] of any length.
        weight: How much the new ones count, from 0 to 1.

    Example:
        >>> fused(np.array([[2.0, 0.0]]), np.array([[0.0, 5.0]]), 0.5).round(3)
        array([[0.707, 0.707]])
    """
    mean = weight * normalised(new) + (1.0 - weight) * normalised(old)
    return normalised(mean)


def at_size(images: np.ndarray, encoder: Encoder) -> np.ndarray:
    """Returns images [batch, size, size, 3] at the size that an encoder takes."""
    if images.shape[1] == encoder.image_size:
        return images
    resize = encoder.preprocessing.resize
    return resized(tf.constant(images), encoder.image_size, resize).numpy()
