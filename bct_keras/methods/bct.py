from typing import ClassVar

import keras
import tensorflow as tf

from bct_keras.methods import perturbation
from bct_keras.methods.method import Method


class PrototypeMethod(Method):
    """A method that looks at the normalised mean of the old embeddings of each class."""

    needs_whole = True
    prototypes: keras.Variable  # [classes, old dims]

    def constants(self, old):
        return {"prototypes": self.of_classes(old.feature("prototypes"))}

    def products(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Returns [batch, classes] of embeddings [batch, old dims]."""
        prototypes = tf.convert_to_tensor(self.prototypes)
        return tf.matmul(embeddings, prototypes, transpose_b=True)


@keras.saving.register_keras_serializable("bct_keras")
class BCT(PrototypeMethod):
    """Classifies new embeddings also by the old class means.

    https://arxiv.org/abs/2003.11942

    -log softmax_c(scale * <new / |new|, prototype_c>) at the row's own class, where prototype_c is
    the normalised mean of the old embeddings of class c and stays as it is. The released code
    scales by 1, where even a perfect match gains little over thousands of classes; a scale of 16 to
    64 makes a penalty of it that can be met.

    Args:
        scale: The factor of the cosines.
        weight: The factor of the penalty.
        perturb: How far prototypes are pushed apart where they crowd, see `perturbation.perturbed`.
        neighbours: How many others push each of them.
        **layer: The options of `keras.layers.Layer`.

    >>> method = BCT(scale=2.0)
    >>> old = OldEmbeddings(np.eye(2), labels=[0, 1])
    >>> method.prepare(old, Training(classes=2, compatible_dims=2))
    >>> method.build()
    >>> penalty = method.penalty(tf.constant([[3.0, 0.0]]), tf.constant([0]), {}, None)
    >>> penalty.numpy().round(3)  # -log(e^2 / (e^2 + 1))
    array([0.127], dtype=float32)
    """

    tuned: ClassVar = {"scale": (1.0, 8.0, 16.0, 32.0), "weight": (0.5, 1.0, 2.0, 4.0)}

    def __init__(
        self,
        scale: float = 1.0,
        weight: float = 1.0,
        perturb: float = 0.0,
        neighbours: int = 10,
        **layer,
    ):
        super().__init__(**layer)
        perturbation.check(perturb, neighbours, "bct")
        self.scale = scale
        self.weight = weight
        self.perturb = perturb
        self.neighbours = neighbours

    def constants(self, old):
        means = old.feature("prototypes")
        moved = perturbation.perturbed(means, self.perturb, self.neighbours)
        return {"prototypes": self.of_classes(moved)}

    def penalty(self, new, labels, batch, head):
        cosines = self.products(self.compatible(new))
        logits = self.scale * cosines
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return self.weight * losses
