"""Encoders in SavedModels, whose graphs are looked through before they are loaded."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras.data.preprocessing import OWN, Preprocessing, chosen
from bct_keras.encoders import operations
from bct_keras.encoders.encoder import FileEncoder, first_sentence
from bct_keras.encoders.shapes import checked_shapes, one_after_the_other
from bct_keras.errors import InputError

GRAPH_FILE = "saved_model.pb"
# Ours takes encoded images by default; one from elsewhere has no more than its default.
OUR_SIGNATURE = "pixels"


class SavedModelEncoder(FileEncoder):
    """Embeds by a SavedModel, ours or anybody's."""

    kind = "saved_model"

    def __init__(self, path: Path, given: dict[str, Any], trust: bool = False):
        if not trust:
            operations.check(path / GRAPH_FILE, f"saved_model({path}, trust=True)")
        try:
            self.model = tf.saved_model.load(str(path))
            signatures = self.model.signatures
            ours = OUR_SIGNATURE in signatures
            self.serve = signatures[OUR_SIGNATURE if ours else "serving_default"]
            _, inputs = self.serve.structured_input_signature
            (self.input_name, spec), *others = inputs.items()
            outputs = dict(self.serve.structured_outputs)
        except Exception as error:  # damaged files have given errors of a dozen classes
            raise InputError(
                f"{path} cannot be loaded as a SavedModel: {first_sentence(error)}"
            ) from None
        if others:
            raise InputError(f"{path}: its signature has several inputs; one is needed")
        self.input_dtype = spec.dtype
        output_shapes = {name: output.shape for name, output in outputs.items()}
        shapes = checked_shapes(path, spec.shape, output_shapes)
        self.colours_first = shapes.colours_first
        # Whole numbers can only be pixels as they are.
        found = OWN if ours or self.input_dtype.is_integer else Preprocessing()
        super().__init__(
            path,
            image_size=shapes.image_size,
            dims=shapes.dims,
            preprocessing=chosen(given, found, str(path)),
            compatible_dims=shapes.compatible_dims,
        )
        if self.input_dtype.is_integer and self.preprocessing.scales:
            raise InputError(f"{path} takes pixels as whole numbers: leave out mean and std")

    def run(self, values: np.ndarray) -> np.ndarray:
        """Returns the embeddings [batch, dims] float32 of [batch, size, size, 3]."""
        if self.colours_first:
            values = values.transpose(0, 3, 1, 2)
        images = tf.cast(np.ascontiguousarray(values), self.input_dtype)
        outputs = self.serve(**{self.input_name: images})
        return one_after_the_other(outputs).astype(np.float32)
