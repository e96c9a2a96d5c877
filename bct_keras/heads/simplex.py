import keras
import numpy as np
import tensorflow as tf

from bct_keras.errors import InputError
from bct_keras.heads.head import Head


@keras.saving.register_keras_serializable("bct_keras")
class Simplex(Head):
    """Classifies by class weights that lie as far apart as can be, and are never trained.

    logit_j = w_j . x, with the dims + 1 corners w_j of a regular simplex around 0, at length 1

    Every new encoder with embeddings of these dimensions finds each class where the one before had
    it, as in HOC, https://arxiv.org/abs/2405.02581. Corners of classes that are not there yet
    count too, so the embeddings leave them room. As in the released code there is no scale, no
    bias and no margin, and class 0 has the last corner.

    Args:
        classes: The number of classes; labels are 0 to classes - 1. Embeddings need classes - 1
            dimensions at least.
        label_smoothing: The share of the target that all corners have in equal parts.
        **layer: The options of `keras.layers.Layer`.

    Returns:
        A layer that takes embeddings [batch, dims] and labels [batch], and gives losses [batch].

    >>> head = Simplex(classes=2)
    >>> losses = head(tf.constant([[2.0]]), tf.constant([1]))
    >>> losses.numpy().round(3)  # log(1 + e^-4): the corners are -1 and 1
    array([0.018], dtype=float32)
    """

    trainable_class_weights = False

    def __init__(self, classes: int, label_smoothing: float = 0.0, **layer):
        super().__init__(classes, label_smoothing=label_smoothing, **layer)

    def make_class_weights(self):
        if self.dims < self.classes - 1:
            raise InputError(
                f"the simplex of {self.classes} classes needs embeddings of {self.classes - 1}"
                f" dimensions at least, and these have {self.dims}",
                f"Give --dims={self.classes - 1} or more, or take another head",
            )
        self.class_weights = self.add_weight(
            shape=(self.dims + 1, self.dims),
            initializer=corners_of,
            trainable=False,
            aggregation="only_first_replica",
            name="class_weights",
        )

    def logits(self, embeddings, labels):
        """Returns logits [batch, dims + 1]: those of later classes stand behind the others."""
        return tf.matmul(embeddings, self.class_weights, transpose_b=True)

    def scores(self, embeddings):
        return super().scores(embeddings)[:, : self.classes]


def corners_of(shape: tuple[int, int], dtype: str | None = None) -> tf.Tensor:
    """Returns the corners for a weight of the shape [dims + 1, dims]."""
    return tf.constant(corners(shape[1]), dtype or "float32")


def corners(dims: int) -> np.ndarray:
    """Returns the corners [dims + 1, dims] of a regular simplex around 0, each at length 1.

    The cosine of every two is -1 / dims.

    Example:
        >>> corners(1)
        array([[-1.],
               [ 1.]])
    """
    count = dims + 1
    axes = np.eye(dims)
    # It is as far from the end of every axis as these are from each other.
    last = np.full((1, dims), (1.0 - np.sqrt(count)) / dims)
    found = np.concatenate([last, axes[::-1]])  # as released, but backwards
    found -= found.mean(axis=0)
    return found / np.linalg.norm(found, axis=1, keepdims=True)
