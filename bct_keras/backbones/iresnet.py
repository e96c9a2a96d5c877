"""Builds InsightFace's iResNet, an image of 0..255 in and an embedding out.

The model normalises its pixels itself, so that whoever runs the saved encoder cannot forget to.
"""

from typing import Any

import keras
from keras import layers

WIDTHS = (64, 128, 256, 512)  # of the four stages


def iresnet18(image_size: int, dims: int, dropout: float = 0.0) -> keras.Model:
    """Builds the iResNet of 18 layers; for the arguments see `iresnet_small`."""
    return iresnet(
        image_size,
        dims,
        depths=(2, 2, 2, 2),
        dropout=dropout,
        name="iresnet18",
    )


def iresnet34(image_size: int, dims: int, dropout: float = 0.0) -> keras.Model:
    """Builds the iResNet of 34 layers; for the arguments see `iresnet_small`."""
    return iresnet(
        image_size,
        dims,
        depths=(3, 4, 6, 3),
        dropout=dropout,
        name="iresnet34",
    )


def iresnet50(image_size: int, dims: int, dropout: float = 0.0) -> keras.Model:
    """Builds the iResNet of 50 layers; for the arguments see `iresnet_small`."""
    return iresnet(
        image_size,
        dims,
        depths=(3, 4, 14, 3),
        dropout=dropout,
        name="iresnet50",
    )


def iresnet100(image_size: int, dims: int, dropout: float = 0.0) -> keras.Model:
    """Builds the iResNet of 100 layers; for the arguments see `iresnet_small`."""
    return iresnet(
        image_size,
        dims,
        depths=(3, 13, 30, 3),
        dropout=dropout,
        name="iresnet100",
    )


def iresnet200(image_size: int, dims: int, dropout: float = 0.0) -> keras.Model:
    """Builds the iResNet of 200 layers; for the arguments see `iresnet_small`."""
    return iresnet(
        image_size,
        dims,
        depths=(6, 26, 60, 6),
        dropout=dropout,
        name="iresnet200",
    )


def iresnet_small(
    image_size: int,
    dims: int,
    width: int = 32,
    dropout: float = 0.0,
) -> keras.Model:
    """Builds eight layers for images of 28 to 64 pixels.

    It is small enough to train on two CPU cores in a minute.

    Args:
        image_size: The side of the images, in pixels.
        dims: Of the embedding.
        width: The channels of the first stage; each further one has twice as many.
        dropout: The share of the features that is left out before the embedding.

    Returns:
        A functional model of Keras's own layers.

    >>> backbone = iresnet_small(image_size=28, dims=16, width=4)
    >>> backbone(tf.zeros((2, 28, 28, 3))).shape
    TensorShape([2, 16])
    """
    return iresnet(
        image_size,
        dims,
        depths=(1, 1, 1),
        widths=(width, 2 * width, 4 * width),
        dropout=dropout,
        stem_stride=2,
        name="iresnet_small",
    )


def iresnet(
    image_size: int,
    dims: int,
    *,
    depths: tuple,
    widths: tuple = WIDTHS,
    dropout: float,
    stem_stride: int = 1,
    name: str,
) -> keras.Model:
    """Builds the network in the form of InsightFace's arcface_torch.

    https://arxiv.org/abs/2004.04989

    Args:
        image_size: The side of the images, in pixels.
        dims: Of the embedding.
        depths: How many blocks each stage has.
        widths: How many channels each stage has.
        dropout: The share of the features that is left out before the embedding.
        stem_stride: Of the first convolution.
        name: Of the model.
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    features = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    features = convolution(features, widths[0], kernel=3, stride=stem_stride)
    features = prelu(batch_norm(features))
    for depth, width in zip(depths, widths, strict=True):
        for block in range(depth):
            stride = 2 if block == 0 else 1
            features = residual_block(features, width, stride)
    features = batch_norm(features)
    features = layers.Dropout(dropout)(features)
    features = layers.Flatten()(features)
    features = layers.Dense(dims)(features)
    # The scale is fixed at 1: the head only sees directions. float32 whatever the precision policy.
    embedding = batch_norm(features, scale=False, dtype="float32")
    return keras.Model(image, embedding, name=name)


def residual_block(features, width, stride):
    """Adds what two convolutions make of the features to the features."""
    shortcut = features
    if stride != 1:
        # The same numbers as a strided 1x1 convolution, whose gradient one_dnn.py tells about.
        every_second = features[:, ::stride, ::stride]
        shortcut = convolution(every_second, width, kernel=1, stride=1)
        shortcut = batch_norm(shortcut)
    features = batch_norm(features)
    features = convolution(features, width, kernel=3, stride=1)
    features = prelu(batch_norm(features))
    features = convolution(features, width, kernel=3, stride=stride)
    features = batch_norm(features)
    return layers.Add()([features, shortcut])


def convolution(features, width, kernel, stride):
    """Convolves without a bias."""
    features, padding = padded(features, kernel, stride)
    start: Any = keras.initializers.RandomNormal(stddev=0.1)
    convolve = layers.Conv2D(
        width,
        kernel,
        strides=stride,
        padding=padding,
        use_bias=False,
        kernel_initializer=start,
    )
    return convolve(features)


def padded(features, kernel, stride):
    """Returns what a convolution is given, and its padding, for as many rows above as below."""
    if stride == 1:
        return features, "same"
    # Where the stride is larger, "same" pads on one side only; where it is 1, this layer would cost
    # a copy.
    return layers.ZeroPadding2D(kernel // 2)(features), "valid"


def batch_norm(features, **options):
    """Normalises over the batch."""
    # Synchronized, so that two replicas train as one does.
    normalise = layers.BatchNormalization(
        momentum=0.9,
        epsilon=1e-5,
        synchronized=True,
        **options,
    )
    return normalise(features)


def prelu(features):
    """Applies a slope below 0 that each channel learns."""
    start: Any = keras.initializers.Constant(0.25)
    activate = layers.PReLU(alpha_initializer=start, shared_axes=[1, 2])
    return activate(features)
