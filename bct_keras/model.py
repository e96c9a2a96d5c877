"""backbone -> method -> head -> loss, in Keras's own fit."""

import keras
import tensorflow as tf

from bct_keras.heads.head import Head
from bct_keras.methods.method import Method


class CompatibleModel(keras.Model):
    """loss = head(method.head_input(new, batch), labels) + method.penalty(new, labels, batch, head)

    averaged over the global batch. A batch is ({"image": ..., and each field the method needs}, labels);
    the method also finds "step" in it, the number of updates made so far.
    """

    def __init__(self, backbone: keras.Model, head: Head, method: Method):
        super().__init__(name="compatible_model")
        self.backbone = backbone
        self.head = head
        self.method = method
        # Built here, so that Keras does not try the loss on symbolic tensors first.
        for layer in (head, method):
            if not layer.built:
                layer.build(backbone.output_shape)
        self.built = True

    def call(self, batch, training=False):
        return self.backbone(batch["image"], training=training)

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        batch = {**x, "step": tf.convert_to_tensor(self.optimizer.iterations)}
        new = tf.cast(y_pred, tf.float32)
        labels = tf.cast(y, tf.int32)
        loss = self.head(self.method.head_input(new, batch), labels)
        loss += self.method.penalty(new, labels, batch, self.head)
        # A plain mean would count once for every replica.
        return tf.nn.compute_average_loss(loss)
