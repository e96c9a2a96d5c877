"""Classifies by the cosine between an embedding and its class.

A variant overrides `own_cosine`.
"""

import math
import random
from typing import Any

import tensorflow as tf

from bct_keras.distribution import replicas
from bct_keras.errors import InputError
from bct_keras.heads.class_table import ClassTable
from bct_keras.heads.cross_entropy import CosineCrossEntropy
from bct_keras.heads.head import ClassRows, Head, in_one_copy
from bct_keras.heads.margins import checked_gradient, with_gradient
from bct_keras.heads.sampling import columns_of, sampled_classes


class CosineHead(Head):
    """Classifies by the cosine between an embedding and its class.

    logit_j = scale cos(x, w_j), and scale own_cosine(cos(x, w_y)) for the embedding's own class y.

    Args:
        classes: The number of classes; labels are 0 to classes - 1.
        scale: The factor of the cosines.
        label_smoothing: The share of the target that all classes have in equal parts.
        filter_above: Cosines of other classes above this count as 0: those classes may be the same
            person. 0 filters none.
        sample_rate: The share of the classes that a step sees, its own ones among them:
            https://arxiv.org/abs/2203.15565
        sharded: Divides the classes over the devices.
        gradient: "exact", or "straight_through", which leaves the margin out of it as InsightFace
            does.
        seed: Of the classes that are drawn; by default `keras.utils.set_random_seed` decides it.
        **layer: The options of `keras.layers.Layer`.
    """

    def __init__(
        self,
        classes: int,
        scale: float = 64.0,
        *,
        label_smoothing: float = 0.0,
        filter_above: float = 0.0,
        sample_rate: float = 1.0,
        sharded: bool = False,
        gradient: str = "exact",
        seed: int | None = None,
        **layer,
    ):
        super().__init__(classes, label_smoothing=label_smoothing, **layer)
        if not 0 < sample_rate <= 1:
            raise InputError(
                f"sample_rate={sample_rate:g} of a head has to be above 0 and at most 1"
            )
        self.scale = scale
        self.filter_above = filter_above
        self.sample_rate = sample_rate
        self.sharded = sharded
        self.gradient = checked_gradient(gradient)
        self.seed = random.getrandbits(31) if seed is None else seed

    def get_config(self):
        shared = {
            "scale": self.scale,
            "filter_above": self.filter_above,
            "sample_rate": self.sample_rate,
            "sharded": self.sharded,
            "gradient": self.gradient,
            "seed": self.seed,
        }
        return {**super().get_config(), **shared}

    def build(self, input_shape):
        self.cross_entropy = CosineCrossEntropy(
            margin=with_gradient(self.own_cosine, self.gradient),
            scale=self.scale,
            filter_above=self.filter_above,
            smoothing=self.label_smoothing,
            centres=self.centres,
            sharded=self.sharded,
        )
        super().build(input_shape)

    def make_class_weights(self):
        if self.sample_rate == 1 and not self.sharded:
            super().make_class_weights()
            return
        shape = (self.classes, self.centres * self.dims)
        start = in_one_copy(self.initializer())(shape, dtype="float32")
        self.table = ClassTable(start, self.sharded)

    def own_cosine(self, cosine: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
        """Returns what the margin makes of the cosines to the own classes, [batch].

        Args:
            cosine: [batch]
            strength: [batch], what `strength` gives.
        """
        return cosine

    def strength(self, lengths: tf.Tensor) -> tf.Tensor:
        """Returns what the margin shall know of the embeddings' lengths, [batch]."""
        return tf.zeros_like(lengths)

    def length_loss(self, lengths: tf.Tensor) -> tf.Tensor:
        """Returns the loss on top of the cross entropy, [batch]."""
        return tf.zeros_like(lengths)

    def loss_of(self, embeddings, labels, rows, swapped=None):
        directions, lengths = divided(embeddings)
        pull = self.length_loss(lengths)
        if swapped is not None:
            of_images = tf.stop_gradient(swapped.lengths)
            lengths = tf.where(swapped.rows, of_images, lengths)
            # It is for the encoder that is trained: another one's rows have no length to be pulled.
            pull = tf.where(swapped.rows, 0.0, pull)
        losses = self.cross_entropy.losses(
            directions,
            rows.weights,
            strength=self.strength(lengths),
            columns=self.columns(labels, rows),
        )
        return losses + pull

    def columns(self, labels: tf.Tensor, rows: ClassRows) -> tf.Tensor:
        """Returns where each label stands among the rows that the step sees, -1 where it does not.

        Of a sharded head these are the labels of all replicas.
        """
        if rows.classes is None:
            return labels
        if self.sharded:
            labels = replicas.gather_rows(labels)
        return columns_of(labels, rows.classes)

    def logits(self, embeddings, labels):
        if self.table is not None:
            raise InputError(
                "this method needs the logits of all classes: without sample_rate and sharded, or"
                " as nccl(beta=0)"
            )
        directions, lengths = divided(embeddings)
        strength = self.strength(lengths)
        return self.cross_entropy.logits(self.cosines(directions), labels, strength)

    def scores(self, embeddings):
        if self.table is not None:
            raise InputError(
                "metrics need the scores of all classes, which a head with sample_rate or sharded"
                " does not give"
            )
        directions, _ = divided(embeddings)
        cosine = self.cosines(directions)
        return self.scale * self.cross_entropy.nearest(cosine)

    def cosines(self, directions: tf.Tensor) -> tf.Tensor:
        """Returns the cosines [batch, classes * centres] of embeddings at length 1."""
        weights, _ = divided(tf.convert_to_tensor(self.class_weights))
        cosine = tf.matmul(directions, weights, transpose_b=True)
        return tf.clip_by_value(cosine, -1.0, 1.0)

    def rows(self, labels, step):
        if self.table is None:
            return self.all_rows()
        first, end = self.table.span()
        chosen = tf.range(first, end)
        if self.sample_rate < 1:
            chosen = self.drawn(labels, step)
        weights = self.table.take(ClassTable.WEIGHTS, chosen)
        return ClassRows(chosen, weights)

    def all_rows(self) -> ClassRows:
        """Returns all classes, where Keras has their weights."""
        weights = tf.convert_to_tensor(self.class_weights)
        shape = (self.classes, self.centres * self.dims)
        return ClassRows(None, tf.reshape(weights, shape))

    def drawn(self, labels: tf.Tensor, step) -> tf.Tensor:
        """Returns the classes of this replica that the step sees, in rising order."""
        table: Any = self.table
        first, end = table.span()
        classes = end - first
        with self.known(labels):
            every = replicas.gather_rows(labels)
        is_mine = (every >= first) & (every < end)
        mine = tf.boolean_mask(every, is_mine) - first
        count = math.ceil(self.sample_rate * classes)
        # Each shard draws its own; where none is divided, all replicas draw the same.
        seed = tf.random.fold_in((self.seed, first), tf.cast(step, tf.int32))
        return first + sampled_classes(mine, classes, count, seed)


def divided(embeddings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns directions [batch, dims] and lengths [batch]."""
    squared = tf.reduce_sum(tf.square(embeddings), axis=1)
    held = tf.maximum(squared, 1e-12)
    # A zero vector has no direction, and no gradient: 1 / |x| would be more than 16 bits hold.
    inverse = tf.where(squared < 1e-12, 0.0, tf.math.rsqrt(held))
    directions = embeddings * inverse[:, None]
    lengths = tf.sqrt(held)
    return directions, lengths
