import tensorflow as tf

from bct_keras import distribution
from bct_keras.heads.cosine import CosineHead
from bct_keras.heads.margins import rotate


class AdaFace(CosineHead):
    """A margin by the embedding's length, which tells the image's quality: https://arxiv.org/abs/2204.00964

    cos(t - m q) - (m q + m),  q = clip(h (|x| - mean) / deviation, -1, 1), with running mean and deviation of |x|
    """

    by_length = True

    def __init__(
        self,
        classes: int,
        dims: int,
        margin: float = 0.4,
        concentration: float = 0.333,
        scale: float = 64.0,
        momentum: float = 0.99,
        gradient: str = "exact",
        label_smoothing: float = 0.0,
        filter_above: float = 0.0,
        sample_rate: float = 1.0,
        sharded: bool = False,
    ):
        super().__init__(classes, dims, scale, gradient, label_smoothing, filter_above, sample_rate, sharded)
        self.most = margin
        self.concentration = concentration
        self.momentum = momentum

    def build(self, input_shape=None):
        super().build(input_shape)
        # The released code starts there, too.
        self.mean = self.running("mean", 20.0)
        self.deviation = self.running("deviation", 100.0)

    def running(self, name: str, start: float):
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
        """Over the global batch, so that every replica has the same."""
        every = distribution.gather_rows(tf.clip_by_value(tf.stop_gradient(lengths), 1e-3, 100.0))
        mean = tf.reduce_mean(every)
        spare = tf.maximum(tf.cast(tf.size(every), tf.float32) - 1.0, 1.0)
        deviation = tf.sqrt(tf.reduce_sum(tf.square(every - mean)) / spare)
        self.mean.assign(self.momentum * self.mean + (1 - self.momentum) * mean)
        self.deviation.assign(self.momentum * self.deviation + (1 - self.momentum) * deviation)

    def strength(self, lengths):
        clipped = tf.clip_by_value(tf.stop_gradient(lengths), 1e-3, 100.0)
        quality = self.concentration * (clipped - self.mean) / (self.deviation + 1e-3)
        return tf.clip_by_value(quality, -1.0, 1.0)

    def margin(self, cosine, strength):
        return rotate(cosine, -self.most * strength) - (self.most * strength + self.most)
