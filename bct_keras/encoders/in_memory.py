"""An encoder that lies in no file: a keras.Model of the program that uses this library."""

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bct_keras import artefacts
from bct_keras.encoders.keras_file import KerasEncoder
from bct_keras.errors import InputError


class InMemoryEncoder(KerasEncoder):
    """Embeds with a model in memory, which takes pixels of 0 to 255 and gives [batch, dims].

    Its fingerprint is that of the model's config and weights, so that embeddings which are kept by
    fingerprints are never those of another model. It is computed anew each time, because the model
    may be trained meanwhile.

    Args:
        model: any keras.Model of square colour images, [batch, size, size, 3] -> [batch, dims].
        name: what messages call it.

    Example:
        >>> image = keras.Input((28, 28, 3))
        >>> colour = keras.layers.GlobalAveragePooling2D()(image)
        >>> encoder = InMemoryEncoder(keras.Model(image, colour))
        >>> encoder.embed(np.zeros((2, 28, 28, 3), np.uint8)).shape
        (2, 3)
        >>> len(encoder.fingerprint)
        64
    """

    def __init__(self, model: Any, name: str = "the encoder in memory"):
        super().__init__(Path(name), model)

    @property
    def fingerprint(self) -> str:
        """Names the embeddings that the model gives now."""
        return self.content_fingerprint()

    def content_fingerprint(self) -> str:
        """Names the model's config and weights."""
        return model_fingerprint(self.model, self.spec)


def model_fingerprint(model: Any, name: str) -> str:
    """Returns a sha256 of a model's config and weights; `name` is what an error calls it."""
    digest = hashlib.sha256()
    digest.update(config_fingerprint(model, name).encode())
    for weight in model.get_weights():
        kind = f"{weight.dtype.name}{list(weight.shape)}"
        digest.update(kind.encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def config_fingerprint(model: Any, name: str) -> str:
    """Returns a fingerprint of a model's config; `name` is what an error calls it."""
    try:
        config = keras.saving.serialize_keras_object(model.get_config())
        return artefacts.fingerprint([type(model).__name__, config])
    except (NotImplementedError, TypeError, ValueError) as error:
        raise InputError(
            f"{name} has no config by which its embeddings could be told from those of others: "
            f"{error}",
            "give its class a get_config, or save the encoder as a .keras file",
        ) from None
