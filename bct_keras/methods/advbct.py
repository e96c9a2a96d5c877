from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from bct_keras.distribution import replicas
from bct_keras.errors import InputError
from bct_keras.methods.l2 import beyond, distance
from bct_keras.methods.method import Method, unit

HIDDEN = 100


@keras.saving.register_keras_serializable("bct_keras")
class AdvBCT(Method):
    """Draws new embeddings into boundaries around old class centres, and fools a discriminator.

    The discriminator learns to tell new embeddings from old ones. AdvBCT,
    https://arxiv.org/abs/2305.19408

    point to set, over the rows that are outside:  weight * mean relu(|new - centre_c| - R_c)
        R_c = r_c + (threshold - r_c) sigmoid(w_c), the elastic boundary
        r_c is the radius of old class c, and w_c is learned
    adversarial, in epoch e of E:  weight (E - e + 1) / E * (-log D_new(new) - log D_old(old))
        the gradient from D to the encoder is reversed, after a share p of the steps with strength
        2 / (1 + exp(-10 p)) - 1

    All of it is as MixBCT's authors released it: weights of 4, a discriminator of unit embeddings
    that starts as PyTorch's layers do, and clipping counts its weights and w among the backbone's.
    The repository of AdvBCT's own authors gives the discriminator the embeddings at their own
    lengths, with weights of 1 and a threshold of 1.

    Args:
        threshold: Where the elastic boundary may go, from the radius of the class on.
        set_weight: The weight of the first part.
        adversarial_weight: The weight of the second.
        **layer: The options of `keras.layers.Layer`.

    >>> method = AdvBCT()
    >>> old = OldEmbeddings(np.eye(4, 2, dtype=np.float32) + 1.0, labels=[0, 0, 1, 1])
    >>> method.prepare(old, Training(classes=2, compatible_dims=2, epochs=2, steps=10))
    >>> method.build()
    >>> float(method.fade(tf.constant(0, tf.int64)))  # (E + 1) / E in the first epoch
    1.5
    """

    needs = ("old_embedding",)
    needs_whole = True
    centres: keras.Variable  # [classes, old dims]
    radii: keras.Variable  # [classes]
    bounded: keras.Variable  # [classes], 1 where a boundary is set
    tuned: ClassVar = {
        "threshold": (0.4, 0.7, 1.0),
        "set_weight": (1.0, 4.0, 16.0),
        "adversarial_weight": (0.25, 1.0, 4.0),
    }

    def __init__(
        self,
        threshold: float = 0.4,
        set_weight: float = 4.0,
        adversarial_weight: float = 4.0,
        **layer,
    ):
        super().__init__(**layer)
        self.threshold = threshold
        self.set_weight = set_weight
        self.adversarial_weight = adversarial_weight

    def constants(self, old):
        # The released code sets no boundary around classes of which one image is left.
        bounded = (old.feature("kept") > 1).astype(np.float32)
        return {
            "centres": self.of_classes(old.feature("centres")),
            "bounded": self.of_classes(bounded),
            "radii": self.of_classes(old.feature("radii")),
        }

    def build(self, input_shape=None):
        super().build(input_shape)
        uniform = keras.initializers.RandomUniform(-1.0, 1.0)
        self.elastic = self.add_weight(name="elastic", shape=self.radii.shape, initializer=uniform)
        # As released: one hidden layer, and each kind of embedding normalised over its own batch.
        # Made here, where the random seed of the run has been set.
        self.hidden = linear(self.centres.shape[1], HIDDEN)
        # PyTorch's defaults, whose momentum of 0.1 counts the other way. The hidden variance may be
        # as small as 0.005.
        self.norm = keras.layers.BatchNormalization(
            epsilon=1e-5, momentum=0.9, synchronized=True, dtype="float32"
        )
        self.norm.build((None, HIDDEN))
        self.verdict = linear(HIDDEN, 2)

    def penalty(self, new, labels, batch, head):
        new, old = self.compatible(new), unit(batch["old_embedding"])
        if not self.steps:
            raise InputError(
                "AdvBCT fades by the share of the training that is done, and how long it is, is not"
                " known: call fit first, with steps_per_epoch where the data do not tell"
            )
        step = tf.cast(batch["step"], tf.int64)
        to_set = self.point_to_set(new, labels)
        adversarial = self.adversarial(new, old, self.reversal(step))
        return self.set_weight * to_set + self.adversarial_weight * self.fade(step) * adversarial

    def point_to_set(self, new: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns [batch], whose mean is the mean over the rows outside their boundary."""
        centres = tf.gather(self.centres, labels)
        boundaries = tf.gather(self.boundaries(), labels)
        distances = distance(new, centres)
        excess = beyond(distances, boundaries)
        excess *= tf.gather(self.bounded, labels)
        is_outside = tf.cast(tf.stop_gradient(excess) > 0, tf.float32)
        of_all = replicas.gather_rows(is_outside)
        return tf.math.divide_no_nan(excess, tf.reduce_mean(of_all))

    def boundaries(self) -> tf.Tensor:
        """Returns [classes] R_c = r_c + (threshold - r_c) sigmoid(w_c)."""
        radii = tf.convert_to_tensor(self.radii)
        elastic = tf.convert_to_tensor(self.elastic)
        share = tf.sigmoid(elastic)
        return radii + (self.threshold - radii) * share

    def fade(self, step: tf.Tensor) -> tf.Tensor:
        """Returns (E - e + 1) / E in epoch e, counted from 0."""
        epoch = step * self.epochs // self.steps
        epoch = tf.minimum(epoch, self.epochs - 1)
        left = self.epochs - epoch + 1
        return tf.cast(left, tf.float32) / self.epochs

    def reversal(self, step: tf.Tensor) -> tf.Tensor:
        """Returns 2 / (1 + exp(-10 p)) - 1, where p is the share of the steps that is done."""
        share = tf.cast(step, tf.float32) / self.steps
        done = tf.minimum(share, 1.0)
        falling = tf.exp(-10.0 * done)
        return 2.0 / (1.0 + falling) - 1.0

    def adversarial(self, new: tf.Tensor, old: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
        """Returns [batch]; the gradient with respect to `new` is multiplied by -strength."""
        reversed_new: Any = reversed_gradient(new, strength)
        of_new = self.discriminator(reversed_new)
        of_old = self.discriminator(old)
        judged_new = tf.nn.log_softmax(of_new, axis=1)
        judged_old = tf.nn.log_softmax(of_old, axis=1)
        return -judged_new[:, 0] - judged_old[:, 1]

    def discriminator(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Returns [batch, 2]: the logits of being new, and of being old."""
        hidden = self.hidden(embeddings)
        normalised = self.norm(hidden, training=True)
        return self.verdict(tf.nn.relu(normalised))


def linear(inputs: int, outputs: int) -> keras.layers.Dense:
    """Returns a layer that starts as PyTorch's Linear: uniform within 1 / sqrt(inputs)."""
    bound = inputs**-0.5
    kernel: Any = keras.initializers.RandomUniform(-bound, bound)
    bias: Any = keras.initializers.RandomUniform(-bound, bound)
    layer = keras.layers.Dense(
        outputs, kernel_initializer=kernel, bias_initializer=bias, dtype="float32"
    )
    layer.build((None, inputs))
    return layer


@tf.custom_gradient
def reversed_gradient(values: tf.Tensor, strength: tf.Tensor):
    """Returns the values as they are; their gradient goes back times -strength."""

    def backward(gradient):
        of_values = -strength * gradient
        of_strength = tf.zeros_like(strength)
        return of_values, of_strength

    return tf.identity(values), backward
