from typing import ClassVar

import keras
import tensorflow as tf

from bct_keras.distribution import replicas
from bct_keras.errors import InputError
from bct_keras.methods.method import Method, unit


@keras.saving.register_keras_serializable("bct_keras")
class HOC(Method):
    """Lets each old embedding find the new one of its own image before those of other classes.

    Higher-order compatibility, https://arxiv.org/abs/2405.02581, as released at
    github.com/miccunifi/iamcl2r

    penalty_i = weight (log sum over j of exp(s_ij [j is of another class than i]) - s_ii)
    s_ij = mu <o_i, n_j>, over the rows j of the global batch

    A row of the own class counts exp(0) = 1 in the sum, i itself too, whatever its product is: so
    the released code has it. The paper's loss is 0.1 of the head's and 0.9 of this; `weight` is
    the ratio of the two, so what is trained is ten times that. Its head is `Simplex`, for new and
    old encoder alike, and any other will do. `GalleryContrast` has a term like this one with the
    two embeddings in each other's place, and over a queue.

    Args:
        mu: The factor of the products.
        weight: The factor of the penalty.
        **layer: The options of `keras.layers.Layer`.

    >>> method = HOC(mu=1.0, weight=1.0)
    >>> batch = {"old_embedding": tf.eye(2)}
    >>> penalty = method.penalty(tf.eye(2), tf.constant([0, 1]), batch, None)
    >>> penalty.numpy().round(3)  # log(e^0 + e^0) - 1: the rival's product is 0, too
    array([-0.307, -0.307], dtype=float32)
    """

    needs = ("old_embedding",)
    tuned: ClassVar = {"mu": (5.0, 10.0, 20.0), "weight": (0.3, 1.0, 3.0, 9.0)}

    def __init__(self, mu: float = 10.0, weight: float = 9.0, **layer):
        super().__init__(**layer)
        if mu <= 0:
            raise InputError(f"mu={mu:g} of hoc has to be above 0")
        self.mu = mu
        self.weight = weight

    def penalty(self, new, labels, batch, head):
        new = self.compatible(new)
        old = unit(batch["old_embedding"])
        every_new = replicas.gather_rows(new)
        every_label = replicas.gather_rows(labels)
        same_class = labels[:, None] == every_label[None, :]
        products = self.mu * tf.matmul(old, every_new, transpose_b=True)
        rivals = tf.where(same_class, 0.0, products)
        own = self.mu * tf.reduce_sum(old * new, axis=1)
        return self.weight * (tf.reduce_logsumexp(rivals, axis=1) - own)
