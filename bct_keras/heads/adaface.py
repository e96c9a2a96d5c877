import keras
import tensorflow as tf

from bct_keras import distribution
from bct_keras.heads.cosine import CosineHead
from bct_keras.heads.margins import rotate


@keras.saving.register_keras_serializable("bct_keras")
class AdaFace(CosineHead):
    """Sets the margin by the embedding's length, which tells the image's quality: https://arxiv.org/abs/2204.00964

    cos(t - m q) - (m q + m),  q = clip(h (|x| - mean) / deviation, -1, 1), with running mean and deviation of |x|

    Args:
        classes: The number of classes; labels are 0 to classes - 1.
        margin: m, the most that the angle changes by, in radians.
        concentration: h, how much of the lengths lies between the worst quality and the best.
        scale: The factor of the cosines.
        momentum: How much of the running mean and deviation stays at a step.
        **shared: The options of `CosineHead`, such as `gradient` and `label_smoothing`.

    Returns:
        A layer that is called with embeddings [batch, dims] and labels [batch], and gives losses [batch].

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
            shape=(), initializer=initializer, trainable=False, aggregation="only_first_replica", name=name
        )

    def call(self, embeddings, labels, rows=None, swapped=None):
        # Of the new embeddings alone: the others have lengths of another kind.
        self.follow(tf.norm(embeddings, axis=1) if swapped is None else swapped.lengths)
        return super().call(embeddings, labels, rows, swapped)

    def follow(self, lengths: tf.Tensor) -> None:
        """Moves the running mean and deviation; over the global batch, so that every replica has the same."""
        every = distribution.gather_rows(held(lengths))
        mean = tf.reduce_mean(every)
        spare = tf.maximum(tf.cast(tf.size(every), tf.float32) - 1.0, 1.0)
        deviation = tf.sqrt(tf.reduce_sum(tf.square(every - mean)) / spare)
        self.mean.assign(self.momentum * self.mean + (1 - self.momentum) * mean)
        self.deviation.assign(self.momentum * self.deviation + (1 - self.momentum) * deviation)

    def strength(self, lengths):
        quality = self.concentration * (held(lengths) - self.mean) / (self.deviation + 1e-3)
        return tf.clip_by_value(quality, -1.0, 1.0)

    def own_cosine(self, cosine, strength):
        return adaptive(cosine, strength, self.margin)

    def get_config(self):
        own = {"margin": self.margin, "concentration": self.concentration, "momentum": self.momentum}
        return {**super().get_config(), **own}


def held(lengths: tf.Tensor) -> tf.Tensor:
    """Returns the lengths within the bounds of the released code, without a gradient."""
    return tf.clip_by_value(tf.stop_gradient(lengths), 1e-3, 100.0)


def adaptive(cosine: tf.Tensor, quality: tf.Tensor, margin: float) -> tf.Tensor:
    """Returns cos(t - m q) - (m q + m)."""
    return rotate(cosine, -margin * quality) - (margin * quality + margin)
