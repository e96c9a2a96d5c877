"""Finds the convolutions whose gradient corrupts memory in oneDNN, the library of TensorFlow's operations on CPUs.

TensorFlow 2.21 turns oneDNN on by itself on processors from AVX-512 VNNI on. There 39 of 203 shapes died of a corrupted
heap (kernels of 1 to 3, strides 1 to 3, 1 to 64 channels, 14 to 112 pixels, also by depth, in groups and transposed).
All are strided 1x1 convolutions that are given fewer than 16 channels, or transposed ones that give fewer than 16, the
same operation. On a processor with AVX2 alone and TF_ENABLE_ONEDNN_OPTS=1 that gradient was wrong in some runs.

The networks of this package have none: they take every second pixel, and then convolve with stride 1.
"""

from typing import Any

import keras
import tensorflow as tf

from bct_keras import _keras, _tensorflow
from bct_keras.errors import InputError

SAFE_CHANNELS = 16
SWITCH = "TF_ENABLE_ONEDNN_OPTS"


def is_on() -> bool:
    """Returns whether TensorFlow computes gradients with oneDNN in this process: it does so on CPUs alone."""
    return _tensorflow.uses_one_dnn() and not tf.config.list_physical_devices("GPU")


def check_gradients(model: Any, where: Any) -> None:
    """Raises an error, before a gradient is taken of `model`, where that could corrupt the memory of this process.

    Embedding alone takes no gradient, so that needs no check.
    """
    found = unsafe_layers(model) if is_on() else []
    if found:
        raise InputError(
            f"{where}: the gradient of its layer {found[0].name}, a strided 1x1 convolution of fewer than "
            f"{SAFE_CHANNELS} channels, can corrupt the memory of this process in TensorFlow's oneDNN.",
            f"Set {SWITCH}=0 in the environment and start the same command again",
        )


def unsafe_layers(model: Any) -> list[Any]:
    """Returns the layers of a model, also those inside other layers, whose gradient oneDNN cannot be trusted with."""
    return [layer for layer in _keras.layers_within(model) if is_unsafe(layer)]


def is_unsafe(layer: Any) -> bool:
    if not isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose) or not layer.built:
        return False
    if tuple(layer.kernel_size) != (1, 1) or max(layer.strides) == 1:
        return False
    # A kernel is [height, width, channels in, channels out], and a transposed one [height, width, out, in].
    kernel: Any = layer.kernel
    return kernel.shape[2] * getattr(layer, "groups", 1) < SAFE_CHANNELS
