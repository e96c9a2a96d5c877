from typing import ClassVar

import keras
import tensorflow as tf

from bct_keras.methods.bct import PrototypeMethod
from bct_keras.methods.method import unit


@keras.saving.register_keras_serializable("bct_keras")
class FD(PrototypeMethod):
    """Draws new embeddings to the old ones, most where the old encoder was right.

    Focal distillation, https://arxiv.org/abs/2011.09161

    weight * (base + focus * [old is right]) * |new / |new| - old / |old||^2

    The old encoder is right about an image whose old embedding is nearest to the old mean of its
    own class.

    Args:
        weight: The factor of the penalty.
        base: What every image counts.
        focus: What an image counts on top of that where the old encoder is right.
        **layer: The options of `keras.layers.Layer`.

    >>> method = FD(base=1.0, focus=5.0)
    >>> old = OldEmbeddings(np.eye(2), labels=[0, 1])
    >>> method.prepare(old, Training(classes=2, compatible_dims=2))
    >>> method.build()
    >>> batch = {"old_embedding": tf.eye(2)}
    >>> new = tf.constant([[0.0, 1.0], [0.0, 1.0]])
    >>> penalty = method.penalty(new, tf.constant([0, 0]), batch, None)
    >>> penalty.numpy().round(3)  # the old encoder is right about the first alone
    array([12.,  0.], dtype=float32)
    """

    needs = ("old_embedding",)
    tuned: ClassVar = {
        "weight": (0.3, 1.0, 3.0, 10.0),
        "base": (0.0, 1.0),
        "focus": (1.0, 5.0, 10.0),
    }

    def __init__(self, weight: float = 1.0, base: float = 1.0, focus: float = 5.0, **layer):
        super().__init__(**layer)
        self.weight = weight
        self.base = base
        self.focus = focus

    def penalty(self, new, labels, batch, head):
        old = unit(batch["old_embedding"])
        products = self.products(old)
        nearest = tf.argmax(products, axis=1)
        nearest = tf.cast(nearest, labels.dtype)
        right = tf.cast(nearest == labels, tf.float32)
        weights = self.weight * (self.base + self.focus * right)
        squared = squared_distance(self.compatible(new), old)
        return weights * squared


def squared_distance(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns the squared distances [batch] of the rows of two tensors [batch, dims]."""
    squares = tf.square(first - second)
    return tf.reduce_sum(squares, axis=1)
