"""Heads on the cosine between an embedding and its class; a variant overrides `margin`."""

import math
import random

import tensorflow as tf

from bct_keras import distribution
from bct_keras.errors import InputError
from bct_keras.heads.class_table import ClassTable
from bct_keras.heads.cross_entropy import CosineCrossEntropy
from bct_keras.heads.head import ClassRows, Head
from bct_keras.heads.margins import with_gradient
from bct_keras.heads.sampling import columns_of, sampled_classes


class CosineHead(Head):
    """logit_j = scale cos(x, w_j), and scale margin(cos(x, w_y)) for the embedding's own class y.

    gradient="straight_through" leaves the margin out of the gradient, as InsightFace does; cosines of other classes
    above `filter_above` count as 0: those classes may be the same person. A step sees `sample_rate` of the classes,
    its own ones among them (https://arxiv.org/abs/2203.15565); `sharded` divides the classes over the devices.
    """

    def __init__(
        self,
        classes: int,
        dims: int,
        scale: float,
        gradient: str = "exact",
        label_smoothing: float = 0.0,
        filter_above: float = 0.0,
        sample_rate: float = 1.0,
        sharded: bool = False,
        centres: int = 1,
    ):
        super().__init__(classes, dims, centres, label_smoothing)
        if not 0 < sample_rate <= 1:
            raise InputError(f"sample_rate={sample_rate:g} of a head has to be above 0 and at most 1")
        self.sample_rate = sample_rate
        self.sharded = sharded
        self.seed = random.getrandbits(31)  # keras.utils.set_random_seed decides it
        self.cross_entropy = CosineCrossEntropy(
            with_gradient(self.margin, gradient), scale, filter_above, label_smoothing, centres, sharded
        )

    def build(self, input_shape=None):
        if self.sample_rate == 1 and not self.sharded:
            super().build(input_shape)
            return
        start = self.initializer()((self.classes, self.centres * self.dims), dtype="float32")
        self.table = ClassTable(start, self.sharded)

    def margin(self, cosine: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
        """[batch], [batch] -> [batch]"""
        return cosine

    def strength(self, lengths: tf.Tensor) -> tf.Tensor:
        """[batch] what the margin shall know of the embeddings' lengths"""
        return tf.zeros_like(lengths)

    def length_loss(self, lengths: tf.Tensor) -> tf.Tensor:
        """[batch] on top of the cross entropy"""
        return tf.zeros_like(lengths)

    def loss_of(self, embeddings, labels, rows, swapped=None):
        directions, lengths = divided(embeddings)
        pull = self.length_loss(lengths)
        if swapped is not None:
            lengths = tf.where(swapped.rows, tf.stop_gradient(swapped.lengths), lengths)
            # It is for the encoder that is trained: another one's rows have no length to be pulled.
            pull = tf.where(swapped.rows, 0.0, pull)
        strength = self.strength(lengths)
        columns = labels
        if rows.classes is not None:
            columns = columns_of(distribution.gather_rows(labels) if self.sharded else labels, rows.classes)
        return self.cross_entropy.losses(directions, rows.weights, strength, columns) + pull

    def logits(self, embeddings, labels):
        if self.table is not None:
            raise InputError(
                "this method needs the logits of all classes: without sample_rate and sharded, or as nccl(beta=0)"
            )
        directions, lengths = divided(embeddings)
        weights, _ = divided(tf.convert_to_tensor(self.class_weights))
        cosine = tf.clip_by_value(tf.matmul(directions, weights, transpose_b=True), -1.0, 1.0)
        return self.cross_entropy.logits(cosine, labels, self.strength(lengths))

    def rows(self, labels, step):
        if self.table is None:
            weights = tf.convert_to_tensor(self.class_weights)
            return ClassRows(None, tf.reshape(weights, (self.classes, self.centres * self.dims)))
        first, end = self.table.span()
        if self.sample_rate == 1:
            chosen = tf.range(first, end)
            return ClassRows(chosen, self.table.take(ClassTable.WEIGHTS, chosen))
        with self.known(labels):
            every = distribution.gather_rows(labels)
        mine = tf.boolean_mask(every, (every >= first) & (every < end)) - first
        count = math.ceil(self.sample_rate * (end - first))
        # Each shard draws its own; where none is divided, all replicas draw the same.
        seed = tf.random.fold_in((self.seed, first), tf.cast(step, tf.int32))
        chosen = first + sampled_classes(mine, end - first, count, seed)
        return ClassRows(chosen, self.table.take(ClassTable.WEIGHTS, chosen))


def divided(embeddings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Directions and lengths"""
    squared = tf.reduce_sum(tf.square(embeddings), axis=1)
    held = tf.maximum(squared, 1e-12)
    # A zero vector has no direction, and no gradient: 1 / |x| there would be more than 16 bits hold.
    inverse = tf.where(squared < 1e-12, 0.0, tf.math.rsqrt(held))
    return embeddings * inverse[:, None], tf.sqrt(held)
