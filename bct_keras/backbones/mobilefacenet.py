"""Builds MobileFaceNet for devices, an image of 0..255 in and an embedding out."""

from typing import Any, NamedTuple

import keras
from keras import layers

from bct_keras.backbones.iresnet import batch_norm, padded, prelu


class Stage(NamedTuple):
    """Holds blocks of one size; the first halves the side of the features, without a shortcut."""

    first_inside: int  # the width inside the first block
    others: int  # how many further blocks there are
    inside: int  # the width inside those
    width: int  # of the output


STAGES = (
    Stage(first_inside=128, others=4, inside=128, width=128),
    Stage(first_inside=256, others=6, inside=256, width=256),
    Stage(first_inside=512, others=2, inside=256, width=256),
)


def mobilefacenet(image_size: int, dims: int) -> keras.Model:
    """Builds MobileFaceNet in the form and size of InsightFace's `mbf` (0.45 GFLOP).

    https://arxiv.org/abs/1804.07573

    Args:
        image_size: The side of the images, in pixels.
        dims: Of the embedding.

    Returns:
        A functional model of Keras's own layers.

    >>> mobilefacenet(image_size=32, dims=16).output_shape
    (None, 16)
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    features = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    features = convolution(features, 128, kernel=3, stride=2)
    features = activated(features)
    features = convolution(features, 128, kernel=3, groups=64)
    features = activated(features)
    for stage in STAGES:
        features = block(features, stage.width, stage.first_inside, stride=2)
        for _ in range(stage.others):
            added = block(features, stage.width, stage.inside, stride=1)
            features = layers.Add()([features, added])
    features = convolution(features, 512, kernel=1)
    features = activated(features)
    # Instead of a mean over the places: each place has a weight of its own, in each channel.
    features = depthwise(features, kernel=features.shape[1])
    features = batch_norm(features)
    features = layers.Flatten()(features)
    start: Any = keras.initializers.HeNormal()
    features = layers.Dense(dims, use_bias=False, kernel_initializer=start)(features)
    # float32 whatever the precision policy
    embedding = batch_norm(features, dtype="float32")
    return keras.Model(image, embedding, name="mobilefacenet")


def block(features, width, inside, stride):
    """Makes the features wider, convolves each channel by itself, and makes them narrower.

    There is no activation after the last.
    """
    features = convolution(features, inside, kernel=1)
    features = activated(features)
    features, padding = padded(features, 3, stride)
    features = depthwise(features, 3, stride, padding)
    features = activated(features)
    features = convolution(features, width, kernel=1)
    return batch_norm(features)


def activated(features):
    """Normalises the features and applies a slope below 0."""
    return prelu(batch_norm(features))


def convolution(features, width, kernel, stride=1, groups=1):
    """Convolves without a bias."""
    features, padding = padded(features, kernel, stride)
    start: Any = fan_out_normal(kernel * kernel * width)
    convolve = layers.Conv2D(
        width,
        kernel,
        strides=stride,
        padding=padding,
        groups=groups,
        use_bias=False,
        kernel_initializer=start,
    )
    return convolve(features)


def depthwise(features, kernel, stride=1, padding="valid"):
    """Convolves each channel by itself, without a bias."""
    channels = features.shape[-1]
    start: Any = fan_out_normal(kernel * kernel * channels)
    convolve = layers.DepthwiseConv2D(
        kernel,
        strides=stride,
        padding=padding,
        use_bias=False,
        depthwise_initializer=start,
    )
    return convolve(features)


def fan_out_normal(fan_out):
    """Returns the start of weights with sigma = sqrt(2 / fan_out).

    PyTorch's fan_out counts every output channel, whatever the groups.
    """
    return keras.initializers.RandomNormal(stddev=(2 / fan_out) ** 0.5)
