"""Describes a format, and what its files are written from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras.data.dataset import DataSet
from bct_keras.data.embeddings import normalised
from bct_keras.encoders import DerivedEncoder, KerasEncoder


@dataclass(frozen=True)
class Source:
    """What a file is written from: an encoder, and how it is to be written."""

    encoder: KerasEncoder
    flip: bool = False
    calibration: DataSet | None = None
    # This share of the operations, those that lose most by it, is not quantised.
    kept_float: float = 0.0

    def embedding(self, model: Any, pixels: tf.Tensor, dims: int) -> tf.Tensor:
        """Returns the embeddings [batch, dims], of length 1.

        Args:
            model: What computes them.
            pixels: Images [batch, size, size, 3] of 0..255.
            dims: How many of the first coordinates to take.
        """
        found = model(pixels, training=False)
        if self.flip:
            mirrored = tf.reverse(pixels, [2])
            found += model(mirrored, training=False)
        if dims < self.encoder.dims:
            found = found[:, :dims]
        return tf.math.l2_normalize(found, axis=1)

    @property
    def served_name(self) -> str:
        """The name of the encoder in a server's answer, which is equal where the embeddings are."""
        fingerprint = self.encoder.fingerprint
        if self.flip:
            return f"{fingerprint}+mirrored"
        return fingerprint

    def facts(self) -> dict[str, Any]:
        """Returns what a reader of a file wants to know, whatever the format."""
        encoder = self.encoder
        return {
            "encoder": f"{encoder.model.name}-{encoder.fingerprint[:12]}",
            "fingerprint": encoder.fingerprint,
            "dims": encoder.compatible_dims,
            "embedding": "length 1",
            "input": {
                "size": encoder.image_size,
                "channels": "RGB",
                "range": [0, 255],
                "normalisation_in_the_model": normalisation_in(encoder.model),
            },
            "flip_and_add": self.flip,
        }


def normalisation_in(model: Any) -> dict[str, float] | str:
    """Returns the scale and the offset that pixels get in the model, where that is all."""
    kinds = {type(layer).__name__: layer for layer in reversed(model.layers)}
    rescaling = kinds.get("Rescaling")
    if rescaling is None or "Normalization" in kinds:
        return "in the model"
    if np.ndim(rescaling.scale) != 0:  # Keras's own networks may scale each colour by itself
        return "in the model"
    return {"scale": float(rescaling.scale), "offset": float(rescaling.offset)}


@dataclass(frozen=True)
class Format:
    """How one format is written, and how close its files have to be to the encoder."""

    file: str  # its name in the exported folder
    write: Callable[[Source, Path], None]
    largest_difference: float | None = None  # in any coordinate of an embedding of length 1
    smallest_cosine: float | None = None
    needs_calibration: bool = False
    can_keep_float: bool = False


class Reference(DerivedEncoder):
    """Embeds as the exported files are to do, adding mirrored images where that is asked for."""

    def __init__(self, source: Source):
        super().__init__(source.encoder.dims, source.encoder)
        self.encoder = source.encoder
        self.compatible_dims = source.encoder.compatible_dims
        self.flip = source.flip
        self.cached = not source.flip  # what is kept is the encoder's own, without mirrored images

    @property
    def fingerprint(self) -> str:
        """The name of the embeddings, which is the encoder's own where nothing is added."""
        fingerprint = self.encoder.fingerprint
        if self.flip:
            return f"{fingerprint}+mirrored"
        return fingerprint

    def derive(self, *embeddings: np.ndarray) -> np.ndarray:
        """Returns the embeddings [batch, dims] at length 1."""
        (found,) = embeddings
        return normalised(found)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Returns the embeddings [batch, dims] of images [batch, size, size, 3] uint8."""
        found = self.encoder.embed(images)
        if self.flip:
            mirrored = np.ascontiguousarray(images[:, :, ::-1])
            found = found + self.encoder.embed(mirrored)
        return self.derive(found)
