"""Describes a format, and what its files are written from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras.data.dataset import DataSet, Shard
from bct_keras.data.embeddings import normalised
from bct_keras.encoders import DerivedEncoder, Encoder, KerasEncoder
from bct_keras.methods.outputs import COMPATIBLE, EMBEDDING

# What each output is for, where a file has two; of one that has one, what that is for.
USED_FOR = {
    EMBEDDING: "new entries, and queries among them",
    COMPATIBLE: "queries in the gallery of the older encoder",
}
USED_FOR_ALL = "entries and queries"


@dataclass(frozen=True)
class Source:
    """What a file is written from: an encoder, and how it is to be written."""

    encoder: KerasEncoder
    flip: bool = False
    calibration: DataSet | None = None
    # This share of the operations, those that lose most by it, is not quantised.
    kept_float: float = 0.0

    @property
    def view(self) -> Encoder:
        """The encoder as its users know it: its own embedding, and another for an old gallery."""
        return self.encoder.view

    @property
    def dims(self) -> dict[str, int]:
        """The dimensions of each output of a file, by its name."""
        view = self.view
        found = {EMBEDDING: view.dims}
        if view.compatible is not view:
            found[COMPATIBLE] = view.compatible_dims
        return found

    def outputs(self, model: Any, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the outputs of a file by their names, each [batch, dims] of length 1.

        Args:
            model: What computes them.
            pixels: Images [batch, size, size, 3] of 0..255.
        """
        found = by_name(model(pixels, training=False))
        if self.flip:
            mirrored = by_name(model(tf.reverse(pixels, [2]), training=False))
            for name in found:
                found[name] += mirrored[name]
        if COMPATIBLE not in found and COMPATIBLE in self.dims:
            # A wider encoder's own gallery takes all coordinates, the old one the first of them.
            found[COMPATIBLE] = found[EMBEDDING][:, : self.dims[COMPATIBLE]]
        for name, embedding in found.items():
            found[name] = tf.math.l2_normalize(embedding, axis=1)
        return found

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
            "dims": self.dims[EMBEDDING],
            "outputs": self.output_facts(),
            "input": {
                "size": encoder.image_size,
                "channels": "RGB",
                "range": [0, 255],
                "normalisation_in_the_model": normalisation_in(encoder.model),
            },
            "flip_and_add": self.flip,
        }

    def output_facts(self) -> dict[str, dict[str, Any]]:
        """Returns what each output is, and what it is for."""
        found = {}
        for name, dims in self.dims.items():
            used_for = USED_FOR[name] if len(self.dims) > 1 else USED_FOR_ALL
            found[name] = {"dims": dims, "length": 1, "for": used_for}
        return found


def by_name(found: Any) -> dict[str, tf.Tensor]:
    """Returns what a model gives by the names of its outputs."""
    if isinstance(found, dict):
        return dict(found)
    return {EMBEDDING: found}


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
    only_if_asked: bool = False  # it is not among those that are written where none is named


class Reference(DerivedEncoder):
    """Embeds as the exported files are to do, adding mirrored images where that is asked for.

    Args:
        source: What is exported.
        part: The encoder of one output; by default that of `embedding`.
    """

    def __init__(self, source: Source, part: Encoder | None = None):
        self.source = source
        self.encoder = part or source.view
        super().__init__(self.encoder.dims, self.encoder)
        self.compatible_dims = self.encoder.compatible_dims
        self.cached = not source.flip  # what is kept is the encoder's own, without mirrored images

    @property
    def compatible(self) -> Encoder:
        """Returns the encoder of the output for an old gallery; this one where there is no other.

        It adds mirrored images of that output: the sum of its two embeddings is brought to length
        1, as `evaluate` does it.
        """
        found = self.encoder.compatible
        if found is self.encoder:
            return self
        return Reference(self.source, found)

    @property
    def fingerprint(self) -> str:
        """The name of the embeddings, which is the encoder's own where nothing is added."""
        return self.source.served_name

    def derive(self, *embeddings: np.ndarray) -> np.ndarray:
        """Returns the embeddings [batch, dims] at length 1."""
        (found,) = embeddings
        return normalised(found)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Returns the embeddings [batch, dims] of images [batch, size, size, 3] uint8."""
        found = self.encoder.embed(images)
        if self.source.flip:
            mirrored = np.ascontiguousarray(images[:, :, ::-1])
            found = found + self.encoder.embed(mirrored)
        return self.derive(found)

    def embed_data(self, data: DataSet, shards: Sequence[Shard] | None = None):
        """Yields (embeddings, batch) over the records, mirrored images added likewise."""
        yield from Encoder.embed_data(self, data, shards)
