from typing import ClassVar

import keras
import tensorflow as tf

from bct_keras.methods.method import unit, widened
from bct_keras.methods.queue import QueueMethod


@keras.saving.register_keras_serializable("bct_keras")
class NCCL(QueueMethod):
    """Draws new embeddings to the old ones of their class, most to those in the middle of it.

    Neighborhood Consensus Contrastive Learning, https://arxiv.org/abs/2108.03372. Over a queue Q of
    the last old embeddings o_j, those of the batch among them:

    penalty_i = alpha l1_i + beta l2_i
    l1_i = -mean over j in Q of i's class of u_ij log(s_ij / sum over k in Q of s_ik)
    u_ij = (1 + <o_i, o_j>) / 2
    s_ij = exp(<n_i, o_j> / t)
    l2_i = the same with s_ij = exp(<z(n_i), z_j> / t), z_j the head's logits for o_j

    The defaults are what the code released with MixBCT trains, whose settings read alpha=1,
    beta=0.01: on its 8 GPUs the gradient of l1 arrives multiplied by 8, and l2 has a value but no
    gradient. As there, places of the queue that are not filled yet count in the sum over k, with a
    product of 0.

    alpha=1, beta=0.01 is the paper's form, in which both terms train. The logits have the head's
    scale and margin in them, so l2 can outweigh the head; its queue takes queue * classes * 4
    bytes, 3 GB for 93,431 classes.

    Args:
        queue: How many old embeddings are kept.
        temperature: t
        alpha: The factor of l1.
        beta: The factor of l2.
        **layer: The options of `keras.layers.Layer`.

    >>> method = NCCL(queue=2, alpha=1.0)
    >>> method.prepare(None, Training(classes=2, compatible_dims=2))
    >>> method.build()
    >>> batch = {"old_embedding": tf.eye(2)}
    >>> penalty = method.penalty(tf.eye(2), tf.constant([0, 1]), batch, None)
    >>> penalty.numpy().round(3)  # -log(e / (e + 1))
    array([0.313, 0.313], dtype=float32)
    """

    # beta above 0 takes several times as long, and is the user's.
    tuned: ClassVar = {"temperature": (0.05, 0.1, 0.2, 1.0), "alpha": (1.0, 2.0, 4.0, 8.0, 16.0)}

    def __init__(
        self,
        queue: int = 8192,
        temperature: float = 1.0,
        alpha: float = 8.0,
        beta: float = 0.0,
        **layer,
    ):
        super().__init__(queue, temperature, **layer)
        self.alpha = alpha
        self.beta = beta

    def build(self, input_shape=None):
        super().build(input_shape)
        if self.beta:
            self.logits_queue = self.add_queue("logits_queue", (self.classes,))

    def penalty(self, new, labels, batch, head):
        old = unit(batch["old_embedding"])
        pushed = [(self.old_queue, old), (self.labels_queue, labels)]
        if self.beta:
            logits = head.logits(widened(old, new), labels)
            pushed.append((self.logits_queue, tf.stop_gradient(logits)))
        self.push(*pushed)
        old_queue = tf.convert_to_tensor(self.old_queue)
        shares = self.shares(old, labels)
        first = soft_contrast(self.compatible(new), old_queue, shares, self.temperature)
        penalty = self.alpha * first
        if self.beta:
            logits = head.logits(new, labels)
            second = soft_contrast(logits, self.logits_queue, shares, self.temperature)
            penalty += self.beta * second
        return penalty

    def shares(self, old: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns [batch, queue]: u_ij over the number of j of i's class, and 0 for all others."""
        old_queue = tf.convert_to_tensor(self.old_queue)
        queued = tf.convert_to_tensor(self.labels_queue)
        same_class = labels[:, None] == queued[None, :]
        cosines = tf.matmul(old, old_queue, transpose_b=True)
        consensus = 0.5 * (1.0 + cosines)  # u_ij
        weights = tf.where(same_class, consensus, 0.0)
        ones = tf.cast(same_class, tf.float32)
        count = tf.reduce_sum(ones, axis=1, keepdims=True)
        return tf.math.divide_no_nan(weights, count)


def soft_contrast(rows: tf.Tensor, queue, shares: tf.Tensor, temperature: float) -> tf.Tensor:
    """Returns [batch], the cross-entropy of the shares.

    - sum_j share_ij log softmax_j(<row_i, queue_j> / t)

    Args:
        rows: [batch, d]
        queue: [queue, d]
        shares: [batch, queue]
        temperature: t
    """
    queued = tf.convert_to_tensor(queue)
    products = tf.matmul(rows, queued, transpose_b=True) / temperature
    logarithms = tf.nn.log_softmax(products, axis=1)
    return -tf.reduce_sum(shares * logarithms, axis=1)
