import keras
import tensorflow as tf

from bct_keras.heads.head import Head


@keras.saving.register_keras_serializable("bct_keras")
class Softmax(Head):
    """Classifies without a margin and without normalisation.

    logit_j = w_j . x + b_j

    Args:
        classes: The number of classes; labels are 0 to classes - 1.
        label_smoothing: The share of the target that all classes have in equal parts.
        **layer: The options of `keras.layers.Layer`.

    Returns:
        A layer that takes embeddings [batch, dims] and labels [batch], and gives losses [batch].

    >>> head = Softmax(classes=10)
    >>> head(tf.ones((3, 4)), tf.constant([0, 1, 2])).shape
    TensorShape([3])
    """

    def __init__(self, classes: int, label_smoothing: float = 0.0, **layer):
        super().__init__(classes, label_smoothing=label_smoothing, **layer)

    def build(self, input_shape):
        super().build(input_shape)
        self.bias = self.add_weight(shape=(self.classes,), initializer="zeros", name="bias")

    def logits(self, embeddings, labels):
        scores = tf.matmul(embeddings, self.class_weights, transpose_b=True)
        return scores + self.bias
