"""Convolves in groups without XLA, by which Keras computes it on every device.

Compiled by XLA for a CPU, the gradient of MobileFaceNet's one convolution in groups takes seconds
an image, and milliseconds by TensorFlow with oneDNN. Without oneDNN TensorFlow has no such
gradient; there the same numbers come from convolutions of each channel by itself.
"""

from typing import Any

import keras
import tensorflow as tf

from bct_keras import _keras, _tensorflow

MOST_INPUTS = 8  # of each group, beyond which XLA is left to it


def convolve_without_xla(model: Any) -> None:
    """Lets the layers of a model that convolve in groups do so without XLA, where that pays.

    Weights and files stay as they are: the layers are Keras's own.
    """
    if tf.config.list_physical_devices("GPU"):
        return
    for layer in _keras.layers_within(model):
        if is_in_groups(layer):
            layer.convolution_op = operation_of(layer)


def is_in_groups(layer: Any) -> bool:
    """Tells whether a layer convolves images in groups of few channels."""
    if not isinstance(layer, keras.layers.Conv2D) or layer.groups == 1 or not layer.built:
        return False
    usual = layer.data_format == "channels_last" and tuple(layer.dilation_rate) == (1, 1)
    kernel: Any = layer.kernel
    return usual and kernel.shape[2] <= MOST_INPUTS


def operation_of(layer: Any) -> Any:
    """Returns what a layer calls with its inputs and its kernel."""
    convolve = tf.nn.conv2d if _tensorflow.uses_one_dnn() else by_channels
    strides = (1, *layer.strides, 1)
    padding = layer.padding.upper()

    def convolution(inputs: Any, kernel: Any) -> Any:
        return convolve(inputs, tf.convert_to_tensor(kernel), strides, padding)

    return convolution


def by_channels(inputs: Any, kernel: Any, strides: Any, padding: str) -> Any:
    """Returns the convolution in groups, as a sum over the input channels of a group.

    y[..., g, n] = sum over i of x[..., g, i] * k[:, :, i, g, n]

    Args:
        inputs: [batch, height, width, groups * i].
        kernel: [height, width, i, groups * n].
        strides: Of the four axes.
        padding: SAME or VALID.
    """
    height, width, of_group, outputs = kernel.shape
    groups = inputs.shape[-1] // of_group
    kernels: Any = tf.reshape(kernel, (height, width, of_group, groups, outputs // groups))
    channels: Any = tf.reshape(inputs, (-1, *inputs.shape[1:3], groups, of_group))
    found = []
    for index in range(of_group):
        one = channels[..., index]
        found.append(tf.nn.depthwise_conv2d(one, kernels[:, :, index], strides, padding))
    return tf.add_n(found)
