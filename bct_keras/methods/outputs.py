"""Encoders of two outputs: one for new galleries, and one that the old gallery is searched with."""

from typing import Any

import keras

EMBEDDING, COMPATIBLE = "embedding", "embedding_compatible"


def two_outputs(encoder: keras.Model, embedding: Any, compatible: Any) -> keras.Model:
    """Returns an encoder with these two symbolic outputs.

    Args:
        encoder: What `embedding` is an output of.
        embedding: [batch, dims]
        compatible: [batch, old dims], the output of a layer named `embedding_compatible`.
    """
    # Keras calls the outputs of a model that it has read by the names of their layers.
    named = keras.layers.Identity(name=EMBEDDING)(embedding)
    outputs = {EMBEDDING: named, COMPATIBLE: compatible}
    return keras.Model(encoder.inputs[0], outputs, name=encoder.name)


def copied(layer: Any, name: str) -> Any:
    """Returns a Dense layer like this one with its weights, under another name."""
    copy = keras.layers.Dense.from_config({**layer.get_config(), "name": name})
    copy.build(layer.kernel.shape[:1])
    copy.set_weights(layer.get_weights())
    return copy
