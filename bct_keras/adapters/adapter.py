"""The contract of an adapter: embeddings of one encoder in, those of another out."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bct_keras.errors import InputError

ROWS_AT_ONCE = 4096  # of an array; Keras's 32 would spend the time between the steps


class Adapter(keras.Model):
    """A small map from the embeddings of one encoder, the source, to those of another, the target.

    A kind of adapter overrides `mapped`, `mapped_by_layers` and `build`. What goes in is brought to
    length 1 here, and so is what comes out.

    Args:
        source_dims: The dimensions of the embeddings that it takes.
        target_dims: The dimensions of those that it gives.
        **model: The options of `keras.Model`, such as `name`.
    """

    def __init__(self, source_dims: int, target_dims: int, **model: Any):
        # A name of its own, so that a fit makes the same file wherever it runs.
        super().__init__(**{"dtype": "float32", "name": type(self).__name__.lower(), **model})
        self.source_dims = source_dims
        self.target_dims = target_dims

    def mapped(self, source: tf.Tensor) -> tf.Tensor:
        """Returns [batch, target dims] of any length, of [batch, source dims] of length 1."""
        raise NotImplementedError

    def call(self, inputs):
        given = tf.cast(inputs, tf.float32)
        source = unit(given)
        found = self.mapped(source)
        return unit(found)

    def layers_on(self, embedding: Any) -> Any:
        """Returns the same map of an encoder's output as layers of Keras alone.

        A model that has them is loaded without this package.

        Args:
            embedding: [batch, source dims], the symbolic output of a Keras model.

        Returns:
            [batch, target dims], of length 1, symbolic.
        """
        source = keras.layers.UnitNormalization(name="compatible_source")(embedding)
        found = self.mapped_by_layers(source)
        return keras.layers.UnitNormalization(name="embedding_compatible")(found)

    def mapped_by_layers(self, source: Any) -> Any:
        """Returns what `mapped` gives, by copies of this adapter's layers."""
        raise NotImplementedError

    def predict(self, x, batch_size=None, verbose: Any = "auto", steps=None, callbacks=None):
        """Returns what the adapter makes of embeddings, as Keras does, with larger batches.

        Args:
            x: [n, source dims], or what else Keras takes.
            batch_size: The rows at once.
            verbose: 0 for no progress bar.
            steps: The batches after which to end.
            callbacks: Keras callbacks.

        Returns:
            [n, target dims] float32, of length 1.
        """
        if isinstance(x, np.ndarray):
            self.check_dims(x)
            batch_size = batch_size or ROWS_AT_ONCE
        return super().predict(x, batch_size, verbose, steps, callbacks)

    def check_dims(self, embeddings: np.ndarray) -> None:
        """Raises where embeddings cannot be of the encoder that the adapter was fitted for."""
        if embeddings.ndim != 2 or embeddings.shape[1] != self.source_dims:
            raise InputError(
                f"the adapter takes embeddings [n, {self.source_dims}], and these are"
                f" {list(embeddings.shape)}"
            )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "name": self.name,
            "source_dims": self.source_dims,
            "target_dims": self.target_dims,
        }


def unit(embeddings: tf.Tensor) -> tf.Tensor:
    """Returns [batch, dims] at length 1, of embeddings as large or small as float32 can be."""
    sizes = tf.abs(embeddings)
    largest = tf.reduce_max(sizes, axis=1, keepdims=True)
    scaled = tf.math.divide_no_nan(embeddings, largest)
    return tf.math.l2_normalize(scaled, axis=1, epsilon=1e-12)
