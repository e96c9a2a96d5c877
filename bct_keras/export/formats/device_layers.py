"""Layers put in the place of others before int8 conversion: the same function, in operations that
are fast there.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf


class ScaledPReLU(keras.layers.Layer):
    """Computes PReLU as two products and a sum.

    LiteRT runs an int8 PRELU in slow reference code, and these in XNNPACK.
    """

    def __init__(self, layer: Any):
        super().__init__(name=layer.name)
        self.slope = np.asarray(layer.alpha, np.float32)

    def call(self, z):
        # max(z, 0) + a min(z, 0) = a z + sign(1 - a) max(|1 - a| z, 0)
        rest = 1 - self.slope
        positive = tf.nn.relu(z * np.abs(rest))
        return z * self.slope + (positive * np.sign(rest) if np.any(rest < 0) else positive)


class GroupsByDepth(keras.layers.Layer):
    """Computes a convolution of small groups as one convolution by depth for each channel of a
    group.

    It is four times as fast.
    """

    def __init__(self, layer: Any):
        super().__init__(name=layer.name)
        kernel = np.asarray(
            layer.kernel, np.float32
        )  # [height, width, channels of a group, channels]
        channel, size = np.arange(kernel.shape[3]), kernel.shape[2]
        self.strides, self.padding = (1, *layer.strides, 1), layer.padding.upper()
        self.parts = []
        for shift in range(size):
            seen = (channel + shift) % size  # which one of its group each channel sees here
            self.parts.append(
                (channel - channel % size + seen, kernel[:, :, seen, channel][..., None])
            )

    @staticmethod
    def fits(layer: Any) -> bool:
        """Tells whether a layer is one that this can replace."""
        if type(layer) is not keras.layers.Conv2D or layer.use_bias:
            return False
        kernel: Any = layer.kernel
        plain = layer.activation is keras.activations.linear and tuple(layer.dilation_rate) == (
            1,
            1,
        )
        return plain and 1 < layer.filters // layer.groups == kernel.shape[2] <= 4

    def call(self, features):
        # out_c = sum over i of the group's x_i * k_ic
        return tf.add_n(
            [
                tf.nn.depthwise_conv2d(
                    tf.gather(features, channels, axis=-1), kernel, self.strides, self.padding
                )
                for channels, kernel in self.parts
            ]
        )


def fast_in_int8(model: keras.Model) -> Any:
    """Returns a copy that shares the weights of all other layers."""

    def replaced(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.PReLU):
            return ScaledPReLU(layer)
        return GroupsByDepth(layer) if GroupsByDepth.fits(layer) else layer

    return keras.models.clone_model(model, clone_function=replaced)
