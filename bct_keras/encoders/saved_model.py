"""Encoders in SavedModels, whose graphs are looked through before they are loaded."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras.data.preprocessing import OWN, Preprocessing, chosen
from bct_keras.encoders import operations
from bct_keras.encoders.encoder import FileEncoder, checked_shapes, first_sentence
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
            compatible = outputs.pop("embedding_compatible", None)
            (self.output_name, output), *other_outputs = outputs.items()
        except Exception as error:  # damaged files have given errors of a dozen classes
            raise InputError(
                f"{path} cannot be loaded as a SavedModel: {first_sentence(error)}"
            ) from None
        if others or other_outputs:
            raise InputError(
                f"{path}: its signature has several inputs or outputs; one of each is needed"
            )
        self.input_dtype = spec.dtype
        size, dims, self.colours_first = checked_shapes(path, spec.shape, output.shape)
        # Whole numbers can only be pixels as they are.
        found = OWN if ours or self.input_dtype.is_integer else Preprocessing()
        super().__init__(path, size, dims, chosen(given, found, str(path)))
        if self.input_dtype.is_integer and self.preprocessing.scales:
            raise InputError(f"{path} takes pixels as whole numbers: leave out mean and std")
        if compatible is not None:
            self.compatible_dims = int(compatible.shape[1])

    def run(self, values: np.ndarray) -> np.ndarray:
        """Returns the embeddings [batch, dims] float32 of [batch, size, size, 3]."""
        if self.colours_first:
            values = values.transpose(0, 3, 1, 2)
        images = tf.cast(np.ascontiguousarray(values), self.input_dtype)
        outputs = self.serve(**{self.input_name: images})
        return np.asarray(outputs[self.output_name], np.float32)
