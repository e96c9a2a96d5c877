"""What is known of a format, and what it is written from."""

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
    kept_float: float = (
        0.0  # this share of the operations, those that lose most by it, is not quantised
    )

    def embedding(self, model: Any, pixels: tf.Tensor, dims: int) -> tf.Tensor:
        """Returns the embeddings [batch, dims], of length 1, of pixels [batch, size, size, 3] of
        0..255.
        """
        found = model(pixels, training=False)
        if self.flip:
            found += model(tf.reverse(pixels, [2]), training=False)
        return tf.math.l2_normalize(found[:, :dims] if dims < self.encoder.dims else found, axis=1)

    @property
    def served_name(self) -> str:
        """Returns what a server's answer calls its encoder: equal only where the embeddings are."""
        return f"{self.encoder.fingerprint}+mirrored" if self.flip else self.encoder.fingerprint

    def facts(self) -> dict[str, Any]:
        """Returns what a reader of a file wants to know, whatever the format."""
        encoder = self.encoder
        kinds = {type(layer).__name__: layer for layer in reversed(encoder.model.layers)}
        # Keras's own networks may scale each colour by itself.
        simple = (
            "Rescaling" in kinds
            and "Normalization" not in kinds
            and np.ndim(kinds["Rescaling"].scale) == 0
        )
        rescaling = kinds["Rescaling"] if simple else None
        inside = (
            {"scale": float(rescaling.scale), "offset": float(rescaling.offset)}
            if rescaling
            else "in the model"
        )
        return {
            "encoder": f"{encoder.model.name}-{encoder.fingerprint[:12]}",
            "fingerprint": encoder.fingerprint,
            "dims": encoder.compatible_dims,
            "embedding": "length 1",
            "input": {
                "size": encoder.image_size,
                "channels": "RGB",
                "range": [0, 255],
                "normalisation_in_the_model": inside,
            },
            "flip_and_add": self.flip,
        }


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
        super().__init__(source.encoder, source.encoder.dims)
        self.compatible_dims = source.encoder.compatible_dims
        self.flip = source.flip
        self.cached = not source.flip  # what is kept is the encoder's own, without mirrored images

    @property
    def fingerprint(self) -> str:
        return self.encoder.fingerprint + ("+mirrored" if self.flip else "")

    def derive(self, embeddings: np.ndarray) -> np.ndarray:
        return normalised(embeddings)

    def embed(self, images: np.ndarray) -> np.ndarray:
        found = self.encoder.embed(images)
        if self.flip:
            found = found + self.encoder.embed(np.ascontiguousarray(images[:, :, ::-1]))
        return self.derive(found)
