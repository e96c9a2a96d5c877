"""Keras's own networks by name, an image of 0..255 in and an embedding out."""

import sys

import keras
from keras import layers

from bct_keras.backbones.iresnet import batch_norm
from bct_keras.errors import InputError


def applications(image_size: int, dims: int, name: str, weights: str = "") -> keras.Model:
    """https://keras.io/api/applications, its classifier replaced by a layer to `dims`.

    `weights` is `imagenet`, which Keras downloads, or a .weights.h5 file; by default they start at random.
    """
    network = network_of(name)
    image = keras.Input((image_size, image_size, 3), name="image")
    try:
        features = network(
            input_tensor=as_its_family_expects(network, image),
            include_top=False,
            weights=weights or None,
            pooling="avg",
        ).output
    except (ValueError, OSError) as error:
        # It is too small for that network, or there are no such weights.
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"applications(name={name}) with images of {image_size} pixels: {reason}") from None
    features = layers.Dense(dims, use_bias=False, kernel_initializer="he_normal")(features)
    # float32 whatever the precision policy
    return keras.Model(image, batch_norm(features, dtype="float32"), name=name.lower())


def network_of(name: str):
    known = [found for found in dir(keras.applications) if found[0].isupper()]
    if name not in known:
        raise InputError(f"applications(name={name}) is unknown; known: {', '.join(known)}")
    return getattr(keras.applications, name)


def as_its_family_expects(network, image):
    """Some want -1..1, some BGR less a mean; some scale their pixels themselves."""
    return sys.modules[network.__module__].preprocess_input(image)
