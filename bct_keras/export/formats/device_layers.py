"""Layers that take the place of others before int8 conversion.

They compute the same function, in operations that are fast in int8.
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
        if np.any(rest < 0):
            positive = positive * np.sign(rest)
        return z * self.slope + positive


class GroupsByDepth(keras.layers.Layer):
    """Computes a convolution of small groups as several convolutions by depth.

    There is one for each channel of a group. Together they are four times as fast.
    """

    def __init__(self, layer: Any):
        super().__init__(name=layer.name)
        # [height, width, channels of a group, channels]
        kernel = np.asarray(layer.kernel, np.float32)
        _, _, size, channels = kernel.shape
        channel = np.arange(channels)
        first_of_group = channel - channel % size
        taken = size * layer.groups
        self.strides = (1, *layer.strides, 1)
        self.padding = layer.padding.upper()
        self.parts = []  # (kernel that selects the channels that are seen, kernel)
        for shift in range(size):
            seen = (channel + shift) % size  # which one of its group each channel sees here
            by_depth = kernel[:, :, seen, channel]
            selection = np.zeros((1, 1, taken, channels), np.float32)
            selection[0, 0, first_of_group + seen, channel] = 1.0
            self.parts.append((selection, by_depth[..., None]))

    @staticmethod
    def fits(layer: Any) -> bool:
        """Tells whether a layer is one that this can replace."""
        if type(layer) is not keras.layers.Conv2D or layer.use_bias:
            return False
        if layer.activation is not keras.activations.linear:
            return False
        if tuple(layer.dilation_rate) != (1, 1):
            return False
        kernel: Any = layer.kernel
        taken_of_group = kernel.shape[2]
        given_by_group = layer.filters // layer.groups
        return 1 < taken_of_group <= 4 and taken_of_group == given_by_group

    def call(self, features):
        # out_c = sum over i of the group's x_i * k_ic
        products = []
        for selection, kernel in self.parts:
            # A convolution: LiteRT's GATHER and ADD_N are slow, and XNNPACK has neither.
            seen = tf.nn.conv2d(features, selection, 1, "VALID")
            products.append(tf.nn.depthwise_conv2d(seen, kernel, self.strides, self.padding))
        total = products[0]
        for product in products[1:]:
            total = total + product
        return total


class UnitLength(keras.layers.Layer):
    """Computes UnitNormalization as the one operation of LiteRT for it.

    That one is kept in float; of squares and a root in eight bits little would be left.
    """

    @staticmethod
    def fits(layer: Any) -> bool:
        """Tells whether a layer is one that this can replace."""
        return isinstance(layer, keras.layers.UnitNormalization) and layer.axis in (-1, [-1])

    def call(self, embedding):
        return tf.math.l2_normalize(embedding, axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape


def fast_in_int8(model: keras.Model) -> Any:
    """Returns a copy with such layers, which shares the weights of all others."""

    def replaced(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.PReLU):
            return ScaledPReLU(layer)
        if GroupsByDepth.fits(layer):
            return GroupsByDepth(layer)
        if UnitLength.fits(layer):
            return UnitLength(name=layer.name)
        return layer

    # A fused encoder has two networks in it.
    return keras.models.clone_model(model, clone_function=replaced, recursive=True)
