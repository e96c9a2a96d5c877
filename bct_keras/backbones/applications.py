"""Builds Keras's own networks by name, an image of 0..255 in and an embedding out."""

import sys

import keras
from keras import layers

from bct_keras.backbones.iresnet import batch_norm
from bct_keras.errors import InputError


def applications(image_size: int, dims: int, name: str, weights: str = "") -> keras.Model:
    """Builds one of https://keras.io/api/applications.

    A layer to `dims` stands in its classifier's place.

    Args:
        image_size: The side of the images, in pixels.
        dims: Of the embedding.
        name: Of the network, such as MobileNetV3Small.
        weights: `imagenet`, which Keras downloads, or a .weights.h5 file; by default they start at
            random.
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
        raise InputError(
            f"applications(name={name}) with images of {image_size} pixels: {reason}"
        ) from None
    features = layers.Dense(dims, use_bias=False, kernel_initializer="he_normal")(features)
    # float32 whatever the precision policy
    return keras.Model(image, batch_norm(features, dtype="float32"), name=name.lower())


def network_of(name: str):
    """Returns the function that builds the network of this name."""
    known = [found for found in dir(keras.applications) if found[0].isupper()]
    if name not in known:
        names = ", ".join(known)
        raise InputError(f"applications(name={name}) is unknown; known: {names}")
    return getattr(keras.applications, name)


def as_its_family_expects(network, image):
    """Returns the pixels as the network was trained on them.

    Some want -1..1, some BGR less a mean; some scale their pixels themselves.
    """
    return sys.modules[network.__module__].preprocess_input(image)
