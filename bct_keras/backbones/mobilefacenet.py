"""MobileFaceNet for devices, an image of 0..255 in and an embedding out."""

from typing import Any

import keras
from keras import layers

from bct_keras.backbones.iresnet import batch_norm, padded, prelu

# (blocks, width of the output, width inside); the first block of each stage halves the side and has no shortcut,
# and in the third it is twice as wide inside as the others.
STAGES = ((1 + 4, 128, 128), (1 + 6, 256, 256), (1 + 2, 256, 256))
WIDTH_OF_LAST_REDUCTION = 512


def mobilefacenet(image_size: int, dims: int) -> keras.Model:
    """https://arxiv.org/abs/1804.07573, in the form and size of InsightFace's `mbf` (0.45 GFLOP)."""
    image = keras.Input((image_size, image_size, 3), name="image")
    features = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    features = activated(convolution(features, 128, kernel=3, stride=2))
    features = activated(convolution(features, 128, kernel=3, groups=64))
    for stage, (blocks, width, inside) in enumerate(STAGES):
        last = stage == len(STAGES) - 1
        features = block(features, width, WIDTH_OF_LAST_REDUCTION if last else inside, stride=2)
        for _ in range(blocks - 1):
            features = layers.Add()([features, block(features, width, inside, stride=1)])
    features = activated(convolution(features, 512, kernel=1))
    # Instead of a mean over the places: each place has a weight of its own, in each channel.
    features = batch_norm(depthwise(features, features.shape[1]))
    features = layers.Flatten()(features)
    start = keras.initializers.HeNormal()
    features = layers.Dense(dims, use_bias=False, kernel_initializer=start)(features)  # pyright: ignore
    # float32 whatever the precision policy
    return keras.Model(image, batch_norm(features, dtype="float32"), name="mobilefacenet")


def block(features, width, inside, stride):
    """Wider, each channel by itself, narrower; the last without an activation."""
    features = activated(convolution(features, inside, kernel=1))
    features, padding = padded(features, 3, stride)
    features = activated(depthwise(features, 3, stride, padding))
    return batch_norm(convolution(features, width, kernel=1))


def activated(features):
    return prelu(batch_norm(features))


def convolution(features, width, kernel, stride=1, groups=1):
    features, padding = padded(features, kernel, stride)
    start: Any = fan_out_normal(kernel * kernel * width)
    convolve = layers.Conv2D(width, kernel, stride, padding, groups=groups, use_bias=False, kernel_initializer=start)
    return convolve(features)


def depthwise(features, kernel, stride=1, padding="valid"):
    start: Any = fan_out_normal(kernel * kernel * features.shape[-1])
    return layers.DepthwiseConv2D(kernel, stride, padding, use_bias=False, depthwise_initializer=start)(features)


def fan_out_normal(fan_out):
    # sigma = sqrt(2 / fan_out), where PyTorch's fan_out counts every output channel, whatever the groups
    return keras.initializers.RandomNormal(stddev=(2 / fan_out) ** 0.5)
