"""Layers put in the place of others before int8 conversion: the same function, in operations that are fast there."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf


class ScaledPReLU(keras.layers.Layer):
    """PReLU of two products and a sum: int8 PRELU runs in LiteRT's slow reference code, and these in XNNPACK."""

    def __init__(self, layer: keras.layers.PReLU):
        super().__init__(name=layer.name)
        self.slope = np.asarray(layer.alpha, np.float32)

    def call(self, z):
        # max(z, 0) + a min(z, 0) = a z + sign(1 - a) max(|1 - a| z, 0)
        rest = 1 - self.slope
        positive = tf.nn.relu(z * np.abs(rest))
        return z * self.slope + (positive * np.sign(rest) if np.any(rest < 0) else positive)


def fast_in_int8(model: keras.Model) -> Any:
    """A copy that shares the weights of all other layers."""

    def replaced(layer: keras.layers.Layer) -> keras.layers.Layer:
        return ScaledPReLU(layer) if isinstance(layer, keras.layers.PReLU) else layer

    return keras.models.clone_model(model, clone_function=replaced)
