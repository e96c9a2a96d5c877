"""Builds InsightFace's vision transformers, an image of 0..255 in and an embedding out."""

from typing import Any

import keras
from keras import layers, ops

PATCH = 9
HEADS = 8  # of each attention


def vit_tiny(image_size: int, dims: int, drop_path: float = 0.05) -> keras.Model:
    """Builds a transformer of 12 blocks, 256 wide.

    Args:
        image_size: The side of the images, in pixels.
        dims: Of the embedding.
        drop_path: How often the last block is left out while training; the others less often.

    Returns:
        A functional model of Keras's own layers.

    >>> vit_tiny(image_size=18, dims=16).output_shape
    (None, 16)
    """
    return vit(
        image_size,
        dims,
        width=256,
        depth=12,
        drop_path=drop_path,
        name="vit_tiny",
    )


def vit_small(image_size: int, dims: int, drop_path: float = 0.05) -> keras.Model:
    """Builds a transformer of 12 blocks, 512 wide; for the arguments see `vit_tiny`."""
    return vit(
        image_size,
        dims,
        width=512,
        depth=12,
        drop_path=drop_path,
        name="vit_small",
    )


def vit_base(image_size: int, dims: int, drop_path: float = 0.05) -> keras.Model:
    """Builds a transformer of 24 blocks, 512 wide; for the arguments see `vit_tiny`."""
    return vit(
        image_size,
        dims,
        width=512,
        depth=24,
        drop_path=drop_path,
        name="vit_base",
    )


def vit(image_size, dims, *, width, depth, drop_path, name):
    """Builds the network as arcface_torch's `vit_t`, `vit_s` and `vit_b` without masks.

    https://arxiv.org/abs/2010.11929
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    features = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    features = patches(features, image_size // PATCH, width)
    for index in range(depth):
        # The deeper a block, the more often it is left out.
        rate = drop_path * index / max(depth - 1, 1)
        attended = attention(layer_norm(features))
        features = layers.Add()([features, left_out(attended, rate)])
        widened = wider(layer_norm(features))
        features = layers.Add()([features, left_out(widened, rate)])
    # A dense layer over all places, each with weights of its own, instead of a class token.
    features = layers.Flatten()(layer_norm(features))
    features = dense(features, width, use_bias=False)
    features = batch_norm(features)
    features = dense(features, dims, use_bias=False)
    # float32 whatever the precision policy
    embedding = batch_norm(features, dtype="float32")
    return keras.Model(image, embedding, name=name)


def patches(features, side, width):
    """Returns one row for each patch, [batch, side * side, width].

    One matrix is for every patch, and a bias for each place, which tells where it is.
    """
    rest = features.shape[1] - side * PATCH
    features = layers.Cropping2D(((0, rest), (0, rest)))(features)
    features = layers.Reshape((side, PATCH, side, PATCH, 3))(features)
    multiply = layers.EinsumDense(
        "bhiwjc,ijcd->bhwd",
        (side, side, width),
        bias_axes="hwd",
        kernel_initializer=start(),
        bias_initializer=start(),
    )
    return layers.Reshape((side * side, width))(multiply(features))


def attention(features):
    """Returns for each place a mean of all, softmax(q k^T / sqrt(width of a head)) v."""
    _, places, width = features.shape
    features = dense(features, 3 * width, use_bias=False)
    features = layers.Reshape((places, 3, HEADS, width // HEADS))(features)
    query = features[:, :, 0]
    key = features[:, :, 1]
    value = features[:, :, 2]
    features = ops.dot_product_attention(query, key, value)
    features = layers.Reshape((places, width))(features)
    return dense(features, width)


def wider(features):
    """Passes each place through a layer four times as wide."""
    width = features.shape[-1]
    features = dense(features, 4 * width, activation="relu6")
    return dense(features, width)


def left_out(features, rate):
    """Leaves the whole branch out for some images, and lets it count more for the others."""
    if not rate:
        return features
    return layers.Dropout(rate, noise_shape=(None, 1, 1))(features)


def dense(features, width, **options):
    """Multiplies each place by a matrix."""
    multiply = layers.Dense(width, kernel_initializer=start(), **options)
    return multiply(features)


def layer_norm(features):
    """Normalises each place by itself."""
    return layers.LayerNormalization(epsilon=1e-5)(features)


def batch_norm(features, **options):
    """Normalises over the batch."""
    # Synchronized, so that two replicas train as one does.
    normalise = layers.BatchNormalization(
        momentum=0.9,
        epsilon=2e-5,
        synchronized=True,
        **options,
    )
    return normalise(features)


def start() -> Any:
    """Returns the start of weights."""
    return keras.initializers.TruncatedNormal(stddev=0.02)
