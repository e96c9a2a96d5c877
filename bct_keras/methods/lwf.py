from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from bct_keras.errors import InputError
from bct_keras.methods.method import Method, unit


@keras.saving.register_keras_serializable("bct_keras")
class LwF(Method):
    """Teaches the new encoder the old classifier's soft labels.

    Learning without Forgetting, https://arxiv.org/abs/1606.09282

    - weight * sum_c softmax_c(z(old) / temperature) log softmax_c(z(new) / temperature)

    z is the old classifier, frozen: W x + b as a softmax head leaves it, and scale * cos(W_c, x)
    where it has no b, as margin heads have none. In Python it comes with the old embeddings,
    OldEmbeddings(..., classifier=(W, b)). The command line reads it from the file old_head, by
    default head.npz beside the old encoder that made the embeddings.

    Args:
        temperature: Divides the logits of both.
        weight: The factor of the penalty.
        scale: The factor of the cosines, of a classifier without b.
        old_head: The file for the command line; in Python it stays empty.
        **layer: The options of `keras.layers.Layer`.

    >>> old = OldEmbeddings(np.eye(2), labels=[0, 1], classifier=(np.eye(2), np.zeros(2)))
    >>> method = LwF(temperature=1.0)
    >>> method.prepare(old, Training(classes=2, compatible_dims=2))
    >>> method.build()
    >>> batch = {"old_embedding": tf.zeros((1, 2))}
    >>> penalty = method.penalty(tf.zeros((1, 2)), tf.constant([0]), batch, None)
    >>> penalty.numpy().round(3)  # log 2: neither knows
    array([0.693], dtype=float32)
    """

    needs = ("old_embedding",)
    needs_whole = True
    old_weights: keras.Variable  # [old classes, old dims]
    tuned: ClassVar = {
        "temperature": (1.0, 2.0, 4.0),
        "weight": (1.0, 4.0, 16.0),
        "scale": (16.0, 32.0, 64.0),
    }

    def __init__(
        self,
        temperature: float = 2.0,
        weight: float = 1.0,
        scale: float = 64.0,
        old_head: str = "",
        **layer,
    ):
        super().__init__(**layer)
        self.temperature = temperature
        self.weight = weight
        self.scale = scale
        self.old_head = old_head

    def constants(self, old):
        head = old.classifier(self.old_head)
        if head.weights.shape[1] != self.compatible_dims:
            raise InputError(
                f"the old head has class weights of {head.weights.shape[1]} dimensions, and the old"
                f" embeddings have {self.compatible_dims}"
            )
        found = {"old_weights": np.asarray(head.weights, np.float32)}
        if head.bias is not None:
            found["old_bias"] = np.asarray(head.bias, np.float32)
        return found

    def penalty(self, new, labels, batch, head):
        old = batch["old_embedding"]
        compatible = new[:, : self.compatible_dims]
        of_old = self.classified(old) / self.temperature
        of_new = self.classified(compatible) / self.temperature
        shares = tf.nn.softmax(of_old)
        losses = tf.nn.softmax_cross_entropy_with_logits(shares, of_new)
        return self.weight * losses

    def classified(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Returns the logits [batch, old classes]."""
        weights = tf.convert_to_tensor(self.old_weights)
        bias = getattr(self, "old_bias", None)
        if bias is not None:
            return tf.matmul(embeddings, weights, transpose_b=True) + bias
        cosines = tf.matmul(unit(embeddings), unit(weights), transpose_b=True)
        return self.scale * cosines
