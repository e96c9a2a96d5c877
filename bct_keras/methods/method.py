"""The contract of a method: what keeps the new embedding compatible with the old one."""

import keras
import tensorflow as tf


class Method(keras.layers.Layer):
    """A layer with three hooks, so that it may own weights: a queue, a discriminator, prototypes."""

    needs: tuple[str, ...] = ()  # the fields of embedding shards that it reads from a batch

    def __init__(self):
        super().__init__(dtype="float32")

    def build(self, input_shape=None):
        """Adds the method's weights; `input_shape` is that of the new embeddings."""

    def head_input(self, new: tf.Tensor, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """[batch, dims] what the head classifies"""
        return new

    def penalty(self, new: tf.Tensor, labels: tf.Tensor, batch: dict[str, tf.Tensor], head) -> tf.Tensor:
        """[batch] loss on top of the head's"""
        return tf.zeros_like(new[:, 0])

    def callbacks(self) -> list[keras.callbacks.Callback]:
        return []
