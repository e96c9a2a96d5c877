"""InsightFace's vision transformers, an image of 0..255 in and an embedding out."""

from typing import Any

import keras
from keras import layers, ops

PATCH = 9
HEADS = 8


def vit_tiny(image_size: int, dims: int, drop_path: float = 0.05) -> keras.Model:
    return vit(image_size, dims, width=256, depth=12, drop_path=drop_path, name="vit_tiny")


def vit_small(image_size: int, dims: int, drop_path: float = 0.05) -> keras.Model:
    return vit(image_size, dims, width=512, depth=12, drop_path=drop_path, name="vit_small")


def vit_base(image_size: int, dims: int, drop_path: float = 0.05) -> keras.Model:
    return vit(image_size, dims, width=512, depth=24, drop_path=drop_path, name="vit_base")


def vit(image_size, dims, width, depth, drop_path, name):
    """https://arxiv.org/abs/2010.11929, in the form of arcface_torch's `vit_t`, `vit_s` and `vit_b` without masks."""
    image = keras.Input((image_size, image_size, 3), name="image")
    features = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    features = patches(features, image_size // PATCH, width)
    for index in range(depth):
        # The deeper a block, the more often it is left out.
        rate = drop_path * index / max(depth - 1, 1)
        features = layers.Add()([features, left_out(attention(layer_norm(features)), rate)])
        features = layers.Add()([features, left_out(wider(layer_norm(features)), rate)])
    # A dense layer over all places, each with weights of its own, instead of a class token.
    features = layers.Flatten()(layer_norm(features))
    features = batch_norm(dense(features, width, use_bias=False))
    # float32 whatever the precision policy
    return keras.Model(image, batch_norm(dense(features, dims, use_bias=False), dtype="float32"), name=name)


def patches(features, side, width):
    """[batch, side * side, width]: one matrix for every patch, and a bias for each place, which tells where it is."""
    rest = features.shape[1] - side * PATCH
    features = layers.Cropping2D(((0, rest), (0, rest)))(features)
    features = layers.Reshape((side, PATCH, side, PATCH, 3))(features)
    features = layers.EinsumDense(
        "bhiwjc,ijcd->bhwd", (side, side, width), bias_axes="hwd", kernel_initializer=start(), bias_initializer=start()
    )(features)
    return layers.Reshape((side * side, width))(features)


def attention(features):
    _, places, width = features.shape
    features = dense(features, 3 * width, use_bias=False)
    features = layers.Reshape((places, 3, HEADS, width // HEADS))(features)
    # softmax(q k^T / sqrt(width of a head)) v
    query, key, value = (features[:, :, index] for index in range(3))
    features = ops.dot_product_attention(query, key, value)
    return dense(layers.Reshape((places, width))(features), width)


def wider(features):
    width = features.shape[-1]
    return dense(dense(features, 4 * width, activation="relu6"), width)


def left_out(features, rate):
    """For some images the whole branch is, and counts more for the others."""
    return layers.Dropout(rate, noise_shape=(None, 1, 1))(features) if rate else features


def dense(features, width, **options):
    return layers.Dense(width, kernel_initializer=start(), **options)(features)


def layer_norm(features):
    return layers.LayerNormalization(epsilon=1e-5)(features)


def batch_norm(features, **options):
    # Synchronized, so that two replicas train as one does.
    return layers.BatchNormalization(momentum=0.9, epsilon=2e-5, synchronized=True, **options)(features)


def start() -> Any:
    return keras.initializers.TruncatedNormal(stddev=0.02)
