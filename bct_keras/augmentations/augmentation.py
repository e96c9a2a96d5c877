"""Sets the contract of an augmentation of this package."""

from typing import Any

import keras
import tensorflow as tf


class Augmentation(keras.layers.Layer):
    """Changes each image of a batch by draws of its own, and none where nothing is trained.

    Args:
        seed: Of the draws; by default another one each time.
        **layer: The options of `keras.layers.Layer`.
    """

    def __init__(self, seed: int | None = None, **layer: Any):
        super().__init__(**{"dtype": "float32", **layer})
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        """Returns [batch, size, size, 3] float32 of 0 to 255."""
        images = tf.cast(images, tf.float32)
        return self.changed(images, self.generator.next()) if training else images

    def changed(self, images: tf.Tensor, seed: Any) -> tf.Tensor:
        """Returns the changed images, which are a function of the images and the seed [2]."""
        raise NotImplementedError

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def draws(images: tf.Tensor, count: int, seed: Any) -> list[tf.Tensor]:
    """Returns so many draws of -1 to 1 for each image, [batch] each."""
    rows: Any = tf.shape(images)[0]
    # Named, since XLA and GPUs would choose another algorithm.
    found = tf.random.stateless_uniform([count, rows], seed, -1.0, 1.0, alg="philox")
    return tf.unstack(found)
