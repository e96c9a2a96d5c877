"""Lets layers draw by a seed that they are given, so that a batch is the same whenever it is made.

A layer of Keras keeps a generator, whose state goes on from call to call. Here that would depend on
which batch is made first, and on where a run was broken off.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from bct_keras import _keras


class GivenSeeds(keras.random.SeedGenerator):
    """Gives seeds that follow from one that it was given, and has no state of its own."""

    def __init__(self):
        super().__init__(seed=0)
        self.given: Any = None
        self.count = 0

    def begin(self, seed: Any) -> None:
        """Takes the seed [2] that the next ones follow from."""
        self.given = seed
        self.count = 0

    def next(self, ordered=True):
        """Returns the next seed [2]."""
        self.count += 1
        seed: Any = tf.random.fold_in(self.given, self.count)  # pyright: ignore  (its stub knows no tensors)
        return tf.cast(seed, tf.uint32)


def take_seeds(layers: Sequence[keras.layers.Layer]) -> GivenSeeds:
    """Puts one generator of given seeds in the place of those that the layers keep."""
    seeds = GivenSeeds()
    for layer in layers:
        for inner in _keras.layers_within(layer):
            for name, value in list(vars(inner).items()):
                if isinstance(value, keras.random.SeedGenerator):
                    # Past Keras, which lets no layer that is built have another one.
                    object.__setattr__(inner, name, seeds)
    return seeds


def augmented(
    layers: Sequence[keras.layers.Layer], seeds: GivenSeeds, images: Any, seed: Any
) -> tf.Tensor:
    """Returns the images as the layers change them, whole numbers of 0 to 255 again.

    Args:
        layers: Those that `take_seeds` has got ready.
        seeds: What it returned.
        images: [batch, size, size, 3] uint8.
        seed: [2], of this batch.
    """
    seeds.begin(seed)
    changed: Any = tf.cast(images, tf.float32)
    for layer in layers:
        changed = layer(changed, training=True)
    changed = tf.ensure_shape(tf.round(changed), images.shape)
    return tf.saturate_cast(changed, tf.uint8)
