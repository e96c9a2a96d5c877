"""Encoders of Keras, read from a .keras file."""

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bct_keras import _keras
from bct_keras.data.preprocessing import OWN, Preprocessing, chosen
from bct_keras.encoders.encoder import FileEncoder, first_sentence
from bct_keras.encoders.shapes import Shapes, checked_shapes, one_after_the_other
from bct_keras.errors import InputError
from bct_keras.methods.outputs import EMBEDDING
from bct_keras.untrusted import keras_files


class KerasEncoder(FileEncoder):
    """A model that was read from `path`. It holds the preprocessing itself, or needs none."""

    kind = "keras"

    def __init__(self, path: Path, model: Any, preprocessing: Preprocessing = OWN):
        shapes = shapes_of(path, model)
        super().__init__(
            path,
            image_size=shapes.image_size,
            dims=shapes.dims,
            preprocessing=preprocessing,
            compatible_dims=shapes.compatible_dims,
        )
        self.colours_first = shapes.colours_first
        self.model = model
        self._embed = tf.function(
            lambda images: self.model(images, training=False),
            autograph=False,
            reduce_retracing=True,
        )

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Returns the embeddings of images, which the model takes as they are."""
        return self.embed_as(OWN, images)

    def run(self, values: np.ndarray) -> np.ndarray:
        """Returns the embeddings [batch, dims] float32 of [batch, size, size, 3]."""
        if self.colours_first:
            values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
        found = self._embed(tf.constant(values))
        if isinstance(found, dict):  # of two outputs
            found = one_after_the_other(found)
        return np.asarray(found, np.float32)


def keras_file_encoder(path: Path, given: dict[str, Any]) -> KerasEncoder:
    """Returns the encoder of a .keras file; what is not given is read from the file."""
    model = read(path)
    stated = OWN if scales_itself(model) else Preprocessing()
    preprocessing = chosen(given, stated, str(path))
    if not preprocessing.is_plain:
        model = with_preprocessing(path, model, preprocessing)
    return KerasEncoder(path, model, preprocessing)


def read(path: Path) -> Any:
    """Returns the model in a file, which has been looked through before."""
    model = read_model(path)
    try:
        shapes_of(path, model)
        return model
    except InputError:
        raise
    except Exception as error:  # damaged files have given errors of a dozen classes
        raise InputError(f"{path} {keras_files.FAULT}: {first_sentence(error)}") from None


def read_model(path: Path) -> Any:
    """Returns the model in a file, which may be no encoder."""
    try:
        keras_files.check(path)
        # safe_mode: a file from elsewhere may not bring code along.
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except InputError:
        raise
    except Exception as error:
        said = f"{path} {keras_files.FAULT}: {first_sentence(error)}"
        raise InputError(said, *ways_on(str(error))) from None


def ways_on(said: str) -> list[str]:
    """Returns a line on what to do about layers that Keras does not have, if it says that."""
    missing = re.search(r"its parent module (\w+)\S* cannot be imported", said)
    if missing:
        package = missing[1].replace("_", "-")
        return [f"Its layers are of another package: pip install {package}"]
    if "Could not locate" in said:
        return [
            "A .keras file does not bring layers of its maker's own along: save one that is made "
            "of Keras's layers, or a SavedModel where nothing is to be trained on"
        ]
    return []


def shapes_of(path: Path, model: Any) -> Shapes:
    """Returns what a model takes and gives; raises where it is no encoder."""
    shapes = model.output_shape
    outputs = {EMBEDDING: shapes}
    if isinstance(shapes, list):
        names = model.output_names
        if len(set(names)) < len(names):
            raise InputError(
                f"{path} is no encoder of square colour images: its outputs are called "
                f"{', '.join(names)}, and each needs a name of its own"
            )
        outputs = dict(zip(names, shapes, strict=True))
    return checked_shapes(path, model.input_shape, outputs)


def scales_itself(model: Any) -> bool:
    """Tells whether pixels are brought to a range by a layer of the model."""
    kinds = (keras.layers.Rescaling, keras.layers.Normalization)
    return any(isinstance(layer, kinds) for layer in _keras.layers_within(model))


def with_preprocessing(path: Path, model: Any, preprocessing: Preprocessing) -> Any:
    """Returns a model that takes pixels as they are.

    It can be exported and looked into like one of our own.
    """
    shapes = shapes_of(path, model)
    image = keras.Input((shapes.image_size, shapes.image_size, 3), name="image")
    values = prepared(image, preprocessing)
    if shapes.colours_first:
        values = keras.ops.transpose(values, (0, 3, 1, 2))
    found = model(values)
    if isinstance(found, dict):
        # Keras calls an output by its layer, which would be the whole model for both.
        found = {name: keras.layers.Identity(name=name)(each) for name, each in found.items()}
    return keras.Model(image, found, name=model.name)


def prepared(image: Any, preprocessing: Preprocessing) -> Any:
    """Returns the symbolic pixels as a model takes them, by layers that are saved with it."""
    values: Any = image
    if preprocessing.order == "bgr":
        values = keras.ops.flip(values, axis=-1)
    if preprocessing.scales:
        # (x - mean) / std = x * scale + offset
        mean = np.array(preprocessing.mean)
        std = np.array(preprocessing.std)
        scale = one_or_each(1 / std * np.ones_like(mean))
        offset = one_or_each(-mean / std)
        values = keras.layers.Rescaling(scale, offset)(values)
    return values


def one_or_each(numbers: np.ndarray) -> Any:
    """Returns a single number as such, and several as a list."""
    if numbers.size == 1:
        return float(numbers[0])
    return numbers.tolist()
