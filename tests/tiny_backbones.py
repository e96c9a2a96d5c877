"""Backbones that are traced in a moment, for tests in which only what stands around the network
matters.
"""

import keras
from keras import layers


def linear(image_size: int, dims: int) -> keras.Model:
    """Sees 7 x 7 colours of an image of 28 pixels, so that images differ."""
    image = keras.Input((image_size, image_size, 3))
    small = layers.AveragePooling2D(4)(layers.Rescaling(1 / 127.5, -1)(image))
    return keras.Model(image, layers.Dense(dims)(layers.Flatten()(small)))


def one_convolution(image_size: int, dims: int, dropout: float = 0.0) -> keras.Model:
    """Returns a network with what training changes besides weights.

    These are the means of BatchNorm, and the seeds of Dropout.
    """
    image = keras.Input((image_size, image_size, 3))
    features = layers.Conv2D(4, 3, strides=4, use_bias=False)(
        layers.Rescaling(1 / 127.5, -1)(image)
    )
    features = layers.ReLU()(layers.BatchNormalization(synchronized=True)(features))
    features = layers.Flatten()(layers.Dropout(dropout)(features))
    return keras.Model(image, layers.Dense(dims)(features))
