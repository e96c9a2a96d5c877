"""Tries an augmentation before the training, so that what is wrong with it is told at once."""

import inspect
import re
import traceback

import keras
import tensorflow as tf

from bct_keras.augmentations.seeds import augmented, take_seeds
from bct_keras.errors import InputError, option

STYLE = re.compile(r"\x1b\[\d*m")  # bold letters, as Keras has them in its errors
CONTRACT = "It has to give as many images of the same size as it gets, [batch, size, size, 3]"
# What a graph cannot hold: Python's `if` and `for` on tensors, and NumPy.
OF_PYTHON = (tf.errors.OperatorNotAllowedInGraphError, NotImplementedError)
TRACED = (
    "Its call is traced once for all batches: in place of a Python `if` on a tensor take "
    "keras.ops.where or tf.cond, of a `for` over one tf.map_fn, of NumPy keras.ops"
)


def check(layer: keras.layers.Layer, spec: str, image_size: int) -> None:
    """Raises where a layer cannot be a part of the input.

    Args:
        layer: One that nothing else uses: it is built here.
        spec: How the user has named it.
        image_size: The side of the images to train on.
    """
    seeds = take_seeds([layer])

    def changed(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return augmented([layer], seeds, images, seed)

    images = tf.TensorSpec((2, image_size, image_size, 3), tf.uint8)
    seed = tf.TensorSpec((2,), tf.int64)
    try:
        tf.function(changed, autograph=False).get_concrete_function(images, seed)
    except Exception as error:  # whatever a layer of the user's own does
        raise InputError(
            f"{option('augment', spec)} cannot change images{place_of(error, layer)}: "
            f"{reason_of(error)}",
            TRACED if isinstance(error, OF_PYTHON) else CONTRACT,
        ) from None


def place_of(error: Exception, layer: keras.layers.Layer) -> str:
    """Returns the line of the layer's own file that an error comes from, if it does."""
    file = inspect.getsourcefile(type(layer))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename == file:
            return f" ({file}, line {frame.lineno})"
    return ""


def reason_of(error: Exception) -> str:
    """Returns the first sentence of an error that says what is wrong, not where."""
    for line in STYLE.sub("", str(error)).splitlines():
        if line.strip() and not line.startswith("Exception encountered when calling"):
            return line.partition(". ")[0]
    return type(error).__name__
