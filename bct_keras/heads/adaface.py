from typing import Any

import keras
import tensorflow as tf

from bct_keras.distribution import replicas
from bct_keras.heads.cosine import CosineHead
from bct_keras.heads.margins import rotate


@keras.saving.register_keras_serializable("bct_keras")
class AdaFace(CosineHead):
    """Sets the margin by the embedding's length, which tells the image's quality.

    https://arxiv.org/abs/2204.00964

    cos(t - m q) - (m q + m),  q = clip(h (|x| - mean) / deviation, -1, 1)
    with a running mean and deviation of |x|

    Args:
        classes: The number of classes; labels are 0 to classes - 1.
        margin: m, the most that the angle changes by, in radians.
        concentration: h, how much of the lengths lies between the worst quality and the best.
        scale: The factor of the cosines.
        momentum: How much of the running mean and deviation stays at a step.
        **shared: The options of `CosineHead`, such as `gradient` and `label_smoothing`.

    Returns:
        A layer that takes embeddings [batch, dims] and labels [batch], and gives losses [batch].

    >>> head = AdaFace(classes=10)
    >>> losses = head(30.0 * tf.eye(4), tf.constant([0, 1, 2, 3]))
    >>> head.mean.numpy().round(3)  # 0.99 * 20 + 0.01 * 30
    np.float32(20.1)
    """

    by_length = True

    def __init__(
        self,
        classes: int,
        margin: float = 0.4,
        concentration: float = 0.333,
        scale: float = 64.0,
        momentum: float = 0.99,
        **shared,
    ):
        super().__init__(classes, scale, **shared)
        self.margin = margin
        self.concentration = concentration
        self.momentum = momentum

    def build(self, input_shape):
        super().build(input_shape)
        # The released code starts there, too.
        self.mean = self.running("mean", 20.0)
        self.deviation = self.running("deviation", 100.0)

    def running(self, name: str, start: float):
        """Makes a number that follows the batches."""

        def initializer(shape, dtype=None):
            return tf.fill(shape, start)

        return self.add_weight(
            shape=(),
            initializer=initializer,
            trainable=False,
            aggregation="only_first_replica",
            name=name,
        )

    def call(self, embeddings, labels, rows=None, swapped=None):
        if swapped is None:
            self.follow(tf.norm(embeddings, axis=1))
        else:
            # Of the new embeddings alone: the others have lengths of another kind.
            self.follow(swapped.lengths)
        return super().call(embeddings, labels, rows, swapped)

    def follow(self, lengths: tf.Tensor) -> None:
        """Moves the running mean and deviation by the global batch, the same on every replica."""
        every = replicas.gather_rows(held(lengths))
        mean = tf.reduce_mean(every)
        count = tf.cast(tf.size(every), tf.float32)
        spare = tf.maximum(count - 1.0, 1.0)
        squares = tf.square(every - mean)
        deviation = tf.sqrt(tf.reduce_sum(squares) / spare)
        self.move(self.mean, mean)
        self.move(self.deviation, deviation)

    def move(self, running: Any, found: tf.Tensor) -> None:
        """Moves a running number a little towards that of a batch."""
        kept = self.momentum * running
        running.assign(kept + (1 - self.momentum) * found)

    def strength(self, lengths):
        """Returns the quality q, [batch]."""
        distance = self.concentration * (held(lengths) - self.mean)
        quality = distance / (self.deviation + 1e-3)
        return tf.clip_by_value(quality, -1.0, 1.0)

    def own_cosine(self, cosine, strength):
        return adaptive(cosine, strength, self.margin)

    def get_config(self):
        own = {
            "margin": self.margin,
            "concentration": self.concentration,
            "momentum": self.momentum,
        }
        return {**super().get_config(), **own}


def held(lengths: tf.Tensor) -> tf.Tensor:
    """Returns the lengths within the bounds of the released code, without a gradient."""
    constant = tf.stop_gradient(lengths)
    return tf.clip_by_value(constant, 1e-3, 100.0)


def adaptive(cosine: tf.Tensor, quality: tf.Tensor, margin: float) -> tf.Tensor:
    """Returns cos(t - m q) - (m q + m)."""
    turned = rotate(cosine, -margin * quality)
    return turned - (margin * quality + margin)
