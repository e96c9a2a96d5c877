import tensorflow as tf

from bct_keras.heads.head import Head


class Softmax(Head):
    """The classifier without margin or normalisation: logit_j = w_j . x + b_j."""

    def __init__(self, classes: int, dims: int, label_smoothing: float = 0.0):
        super().__init__(classes, dims, label_smoothing=label_smoothing)

    def build(self, input_shape=None):
        super().build(input_shape)
        self.bias = self.add_weight(shape=(self.classes,), initializer="zeros", name="bias")

    def logits(self, embeddings, labels):
        return tf.matmul(embeddings, self.class_weights, transpose_b=True) + self.bias
