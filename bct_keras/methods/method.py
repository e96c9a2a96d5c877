"""The contract of a method: what keeps the new embedding compatible with the old one."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from bct_keras.data.dataset import DataSet
from bct_keras.data.embeddings import EmbeddingShards
from bct_keras.errors import InputError
from bct_keras.heads.head import Swapped


@dataclass(frozen=True)
class Training:
    """What a method may ask before the first step."""

    data: DataSet
    old: EmbeddingShards | None
    compatible_dims: int  # those of the old embedding; the new one may be wider
    epochs: int
    steps: int  # over all epochs, counted as "step" of a batch is: in micro-batches


class Method(keras.layers.Layer):
    """A layer with a few hooks, so that it may own weights: a queue, a discriminator, prototypes."""

    needs: tuple[str, ...] = ()  # the fields of embedding shards that it reads from a batch
    needs_classes = False  # whether `prepare` reads the old embeddings by class

    compatible_dims: int | None = None

    def __init__(self):
        super().__init__(dtype="float32")

    @property
    def needs_old(self) -> bool:
        return bool(self.needs) or self.needs_classes

    def prepare(self, training: Training) -> None:
        """Called once, before the method is built; what it needs of the old embeddings as a whole is read here."""
        self.compatible_dims = training.compatible_dims

    def build(self, input_shape=None):
        """Adds the method's weights; `input_shape` is that of the new embeddings."""

    def head_input(self, new: tf.Tensor, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """[batch, dims] what the head classifies"""
        return new

    def swapped(self, new: tf.Tensor, batch: dict[str, tf.Tensor]) -> Swapped | None:
        """The rows of `head_input` that are not the new encoder's, for heads that go by length; None: all are."""
        return None

    def penalty(self, new: tf.Tensor, labels: tf.Tensor, batch: dict[str, tf.Tensor], head) -> tf.Tensor:
        """[batch] loss on top of the head's"""
        return tf.zeros_like(new[:, 0])

    def callbacks(self) -> list[keras.callbacks.Callback]:
        return []

    def constant(self, name: str, values: np.ndarray):
        """A weight that no step changes; kept in checkpoints, so that a run goes on with what it began with."""
        weight = self.add_weight(name=name, shape=values.shape, initializer="zeros", trainable=False)
        weight.assign(values)
        return weight

    def compatible(self, new: tf.Tensor) -> tf.Tensor:
        """[batch, old dims]: the first coordinates, which the old gallery is searched with, at length 1"""
        return unit(new[:, : self.compatible_dims])

    def prepared(self, values):
        """What `prepare` has found, for `build`; a method built without it would train on nothing."""
        if values is None:
            raise InputError(f"{type(self).__name__} was built before prepare() was called")
        return values


def unit(embeddings: tf.Tensor) -> tf.Tensor:
    """[batch, dims] at length 1"""
    return tf.math.l2_normalize(embeddings, axis=1, epsilon=1e-12)


def widened(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """[batch, dims]: the old embedding in the first coordinates of the new one's space, 0 in the others"""
    rows, dims = tf.unstack(tf.shape(old))
    return tf.concat([old, tf.zeros([rows, tf.shape(new)[1] - dims])], axis=1)
