from typing import ClassVar

import keras
import tensorflow as tf

from bct_keras.methods.method import Method, unit


@keras.saving.register_keras_serializable("bct_keras")
class L2(Method):
    """Pulls each new embedding to the old one of the same image.

    weight * relu(|new / |new| - old / |old|| - slack)

    With a slack it is MixBCT's "weakened L2", as released with https://arxiv.org/abs/2308.06948

    Args:
        weight: The factor of the distance.
        slack: Distances up to it cost nothing.
        **layer: The options of `keras.layers.Layer`.

    >>> method = L2(weight=10.0, slack=0.2)
    >>> batch = {"old_embedding": tf.constant([[0.0, 2.0]])}
    >>> penalty = method.penalty(tf.constant([[1.0, 0.0]]), tf.constant([0]), batch, None)
    >>> penalty.numpy().round(3)  # 10 (sqrt 2 - 0.2)
    array([12.142], dtype=float32)
    """

    needs = ("old_embedding",)
    tuned: ClassVar = {"weight": (1.0, 3.0, 10.0, 30.0), "slack": (0.0, 0.1, 0.2, 0.4)}

    def __init__(self, weight: float = 10.0, slack: float = 0.0, **layer):
        super().__init__(**layer)
        self.weight = weight
        self.slack = slack

    def penalty(self, new, labels, batch, head):
        old = unit(batch["old_embedding"])
        distances = distance(self.compatible(new), old)
        return self.weight * beyond(distances, self.slack)


def distance(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns the distances [batch] of the rows of two tensors [batch, dims].

    They are never quite 0, where the gradient of a root would be infinite.
    """
    squares = tf.square(first - second)
    squared = tf.reduce_sum(squares, axis=1)
    return tf.sqrt(tf.maximum(squared, 1e-12))


def beyond(distances: tf.Tensor, slack: float | tf.Tensor) -> tf.Tensor:
    """Returns how far the distances go beyond the slack, and 0 for those within it."""
    return tf.nn.relu(distances - slack)
