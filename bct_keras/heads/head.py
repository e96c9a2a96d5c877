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

    def call(self, embeddings, labels):
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, self.logits(embeddings, labels))


def cosines(embeddings: tf.Tensor, class_weights: tf.Tensor) -> tf.Tensor:
    """[batch, dims], [classes, dims] -> [batch, classes]"""
    directions = tf.math.l2_normalize(embeddings, axis=1, epsilon=1e-12)
    centres = tf.math.l2_normalize(class_weights, axis=1, epsilon=1e-12)
    return tf.clip_by_value(tf.matmul(directions, centres, transpose_b=True), -1.0, 1.0)


def with_target(logits: tf.Tensor, labels: tf.Tensor, change) -> tf.Tensor:
    """Each row's own logit through `change`, the others as they are."""
    places = tf.stack([tf.range(tf.shape(labels)[0]), labels], axis=1)
    return tf.tensor_scatter_nd_update(logits, places, change(tf.gather_nd(logits, places)))
