"""Builds and differentiates a head by itself, for the tests here."""

from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras.heads import HEADS
from bct_keras.heads.head import Head

SPECS = [
    *HEADS,
    "softmax(label_smoothing=0.1)",
    "simplex(label_smoothing=0.1)",
    "arcface(gradient=straight_through, label_smoothing=0.1, filter_above=0.4)",
    "combined(margins=(1.3, 0.2, 0.1), label_smoothing=0.1)",
]


def built(head: Head, class_weights: np.ndarray | None = None, dims: int = 4) -> Head:
    head.build((None, dims if class_weights is None else class_weights.shape[1]))
    if class_weights is not None:
        head.class_weights.assign(class_weights)
    return head


def losses_and_gradients(head: Head, embeddings: np.ndarray, labels: np.ndarray):
    """Returns the losses, and the gradients of their mean.

    These are with respect to the embeddings and the class weights.
    """
    inputs = tf.constant(embeddings)
    with tf.GradientTape() as tape:
        # those of a simplex are no weights that train
        tape.watch([inputs, head.class_weights.value])
        losses = head(inputs, tf.constant(labels))
        mean = tf.reduce_mean(losses)
    gradients: Any = tape.gradient(mean, [inputs, head.class_weights.value])
    return losses.numpy(), *(gradient.numpy() for gradient in gradients)
