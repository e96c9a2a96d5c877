from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bct_keras import distribution
from bct_keras.data.class_store import OldClasses
from bct_keras.methods.l2 import beyond, distance
from bct_keras.methods.method import Method, Training, unit

HIDDEN = 100


class AdvBCT(Method):
    """Boundaries around old class centres, and a discriminator to be fooled: https://arxiv.org/abs/2305.19408

    point to set, over the rows that are outside:  weight * mean relu(|new - centre_c| - R_c)
        R_c = r_c + (threshold - r_c) sigmoid(w_c), r_c the radius of old class c, w_c learned: the elastic boundary
    adversarial, fading out over the E epochs e:  weight (E - e + 1) / E * (-log D_new(new) - log D_old(old))
        the gradient from D to the encoder is reversed, with strength 2 / (1 + exp(-10 p)) - 1 after a share p of steps
    """

    needs = ("old_embedding",)
    needs_classes = True

    def __init__(self, threshold: float = 0.4, set_weight: float = 4.0, adversarial_weight: float = 4.0):
        super().__init__()
        self.threshold = threshold
        self.set_weight = set_weight
        self.adversarial_weight = adversarial_weight
        self.old_classes = None

    def prepare(self, training: Training):
        super().prepare(training)
        assert training.old is not None
        self.old_classes = OldClasses(training.old)
        self.epochs, self.steps = training.epochs, training.steps

    def build(self, input_shape=None):
        old = self.prepared(self.old_classes)
        self.centres = self.constant("centres", old.feature("centres"))
        # The released code sets no boundary around classes of which one image is left.
        self.bounded = self.constant("bounded", (old.feature("kept") > 1).astype(np.float32))
        self.radii = self.constant("radii", old.feature("radii"))
        uniform = keras.initializers.RandomUniform(-1.0, 1.0)
        self.elastic = self.add_weight(name="elastic", shape=self.radii.shape, initializer=uniform)
        # As released: one hidden layer, and each kind of embedding normalised over its own batch. Made here, where the
        # random seed of the run has been set.
        self.hidden = keras.layers.Dense(HIDDEN, dtype="float32")
        self.norm = keras.layers.BatchNormalization(synchronized=True, dtype="float32")
        self.verdict = keras.layers.Dense(2, dtype="float32")
        self.hidden.build((None, self.compatible_dims))
        self.norm.build((None, HIDDEN))
        self.verdict.build((None, HIDDEN))

    def penalty(self, new, labels, batch, head):
        new, old = self.compatible(new), unit(batch["old_embedding"])
        done = tf.minimum(tf.cast(batch["step"], tf.float32) / self.steps, 1.0)
        return self.set_weight * self.point_to_set(new, labels) + self.adversarial_weight * self.fade(done) * (
            self.adversarial(new, old, done)
        )

    def point_to_set(self, new: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """[batch]; its mean over the global batch is the mean over the rows outside their boundary"""
        radii = tf.gather(self.radii, labels)
        # R_c = r_c + (threshold - r_c) sigmoid(w_c)
        boundaries = radii + (self.threshold - radii) * tf.sigmoid(tf.gather(self.elastic, labels))
        excess = beyond(distance(new, tf.gather(self.centres, labels)), boundaries)
        excess *= tf.gather(self.bounded, labels)
        outside = distribution.gather_rows(tf.cast(tf.stop_gradient(excess) > 0, tf.float32))
        return tf.math.divide_no_nan(excess, tf.reduce_mean(outside))

    def fade(self, done: tf.Tensor) -> tf.Tensor:
        # (E - e + 1) / E
        epoch = tf.minimum(tf.floor(done * self.epochs), self.epochs - 1.0)
        return (self.epochs - epoch + 1.0) / self.epochs

    def adversarial(self, new: tf.Tensor, old: tf.Tensor, done: tf.Tensor) -> tf.Tensor:
        strength = 2.0 / (1.0 + tf.exp(-10.0 * done)) - 1.0
        reversed_new: Any = reversed_gradient(new, strength)
        judged_new = tf.nn.log_softmax(self.discriminator(reversed_new), axis=1)
        judged_old = tf.nn.log_softmax(self.discriminator(old), axis=1)
        return -judged_new[:, 0] - judged_old[:, 1]

    def discriminator(self, embeddings: tf.Tensor) -> tf.Tensor:
        return self.verdict(tf.nn.relu(self.norm(self.hidden(embeddings), training=True)))


@tf.custom_gradient
def reversed_gradient(values: tf.Tensor, strength: tf.Tensor):
    return tf.identity(values), lambda gradient: (-strength * gradient, tf.zeros_like(strength))
