from dataclasses import dataclass
from typing import ClassVar

import keras
import tensorflow as tf

from bct_keras.distribution import replicas
from bct_keras.errors import InputError
from bct_keras.methods.method import Method, unit

LOSSES = ("contrastive", "triplet")


@keras.saving.register_keras_serializable("bct_keras")
class RACT(Method):
    """Lets a new query find the old embedding of its own image before hard negatives.

    Regression-alleviating compatible training for hot refresh, https://arxiv.org/abs/2201.09724.
    While a gallery is re-embedded it holds old and new embeddings, so the new query has to find the
    old embedding o_i of its own image before the k hardest negatives of both kinds, N_i:

    contrastive: -log(s_ii / (s_ii + sum over j in N_i of exp(<n_i, x_j> / t)))
                 s_ii = exp(<n_i, o_i> / t)
    triplet:     sum over both kinds of mean over j of relu(|n_i - o_i| - |n_i - x_j| + margin)

    Args:
        loss: "contrastive" or "triplet".
        k: How many negatives of each kind count, the hardest; -1 takes all.
        temperature: t, of the contrastive loss.
        margin: That of the triplet loss.
        new_negatives: Whether new embeddings of other classes are negatives too.
        weight: The factor of the penalty.
        **layer: The options of `keras.layers.Layer`.

    >>> method = RACT(temperature=1.0, new_negatives=False)
    >>> batch = {"old_embedding": tf.eye(2)}
    >>> penalty = method.penalty(tf.eye(2), tf.constant([0, 1]), batch, None)
    >>> penalty.numpy().round(3)  # -log(e / (e + 1 + e^-1e9)): the own row is no negative
    array([0.313, 0.313], dtype=float32)
    """

    needs = ("old_embedding",)
    tuned: ClassVar = {
        "loss": LOSSES,
        "k": (10, 50, -1),
        "temperature": (0.05, 0.1, 0.2),
        "weight": (1.0, 4.0),
    }

    def __init__(
        self,
        loss: str = "contrastive",
        k: int = 10,
        temperature: float = 0.05,
        margin: float = 0.8,
        new_negatives: bool = True,
        weight: float = 1.0,
        **layer,
    ):
        super().__init__(**layer)
        if loss not in LOSSES:
            raise InputError(f"loss={loss!r} of ract has to be one of {', '.join(LOSSES)}")
        if k == 0 or k < -1:
            raise InputError(f"k={k} of ract has to be at least 1, or -1 for all")
        self.loss = loss
        self.k = k
        self.temperature = temperature
        self.margin = margin
        self.new_negatives = new_negatives
        self.weight = weight

    def penalty(self, new, labels, batch, head):
        new = self.compatible(new)
        old = unit(batch["old_embedding"])
        kinds = [replicas.gather_rows(old)]
        if self.new_negatives:
            kinds.append(replicas.gather_rows(new))
        every = replicas.gather_rows(labels)
        same_class = labels[:, None] == every[None, :]
        rivals = Rivals(kinds, same_class, self.k)
        if self.loss == "contrastive":
            return self.weight * contrastive(new, old, rivals, self.temperature)
        return self.weight * triplet(new, old, rivals, self.margin)


@dataclass(frozen=True)
class Rivals:
    """Holds what each new embedding is told apart from."""

    # The old embeddings, and the new ones where they count too: [rows, dims] each
    kinds: list[tf.Tensor]
    # [batch, rows]: whether a row is of the embedding's own class, and so no rival
    same_class: tf.Tensor
    k: int  # so many of each kind count, the hardest; -1: all


def contrastive(new: tf.Tensor, old: tf.Tensor, rivals: Rivals, temperature: float) -> tf.Tensor:
    """Returns [batch]: -log softmax of the own old embedding's product among the rivals'."""
    parts = [tf.reduce_sum(new * old, axis=1, keepdims=True)]
    for negatives in rivals.kinds:
        products = tf.matmul(new, negatives, transpose_b=True)
        of_rivals = tf.where(rivals.same_class, -1e9, products)
        parts.append(largest(of_rivals, rivals.k))
    logits = tf.concat(parts, axis=1) / temperature
    logarithms = tf.nn.log_softmax(logits, axis=1)
    return -logarithms[:, 0]


def triplet(new: tf.Tensor, old: tf.Tensor, rivals: Rivals, margin: float) -> tf.Tensor:
    """Returns [batch]: what the old embedding lacks to be nearer than the rivals by the margin."""
    product = tf.reduce_sum(new * old, axis=1, keepdims=True)
    positive = root(2.0 - 2.0 * product)
    losses = []
    for negatives in rivals.kinds:
        products = tf.matmul(new, negatives, transpose_b=True)
        distances = root(2.0 - 2.0 * products)
        of_rivals = tf.where(rivals.same_class, 1e9, distances)
        nearest = -largest(-of_rivals, rivals.k)
        short = tf.nn.relu(positive - nearest + margin)
        losses.append(tf.reduce_mean(short, axis=1))
    return tf.add_n(losses)


def largest(values: tf.Tensor, k: int) -> tf.Tensor:
    """Returns the k largest of each row [batch, k] of values [batch, rows]; -1 takes all."""
    if k == -1:
        return values
    rows = tf.shape(values)[1]
    found = tf.math.top_k(values, tf.minimum(k, rows))
    return found.values


def root(squared: tf.Tensor) -> tf.Tensor:
    """Returns the root, whose gradient stays finite at 0."""
    return tf.sqrt(tf.maximum(squared, 1e-12))
