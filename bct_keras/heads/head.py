"""What every head shares: class weights, and a loss for each example."""

import keras
import tensorflow as tf


class Head(keras.layers.Layer):
    """A head turns embeddings and labels into a loss per example, in float32 whatever the precision."""

    def __init__(self, classes: int, dims: int):
        super().__init__(dtype="float32")
        self.classes = classes
        self.dims = dims

    def build(self, input_shape=None):
        self.class_weights = self.add_weight(
            shape=(self.classes, self.dims), initializer=self.initializer(), name="class_weights"
        )

    def initializer(self) -> keras.initializers.Initializer:
        return keras.initializers.RandomNormal(stddev=0.01)

    def logits(self, embeddings: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """[batch, dims], [batch] -> [batch, classes]; the margin, if any, on each row's own class"""
        raise NotImplementedError

    def losses(self, embeddings: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, self.logits(embeddings, labels))

    def call(self, embeddings, labels):
        # On a GPU a label that is no class would be read as 0.
        known = tf.debugging.assert_equal(
            tf.reduce_all((labels >= 0) & (labels < self.classes)),
            True,
            f"a label is outside the head's {self.classes} classes, 0 to {self.classes - 1}",
        )
        with tf.control_dependencies([] if known is None else [known]):
            return self.losses(embeddings, labels)
