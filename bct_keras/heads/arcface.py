import math

import tensorflow as tf

from bct_keras.heads.head import Head, cosines, with_target


class ArcFace(Head):
    """An angle added to that between an embedding and its class: https://arxiv.org/abs/1801.07698"""

    def __init__(self, classes: int, dims: int, margin: float = 0.5, scale: float = 64.0):
        super().__init__(classes, dims)
        self.margin = margin
        self.scale = scale

    def logits(self, embeddings, labels):
        cosine = cosines(embeddings, self.class_weights)
        return self.scale * with_target(cosine, labels, lambda target: add_angle(target, self.margin))


def add_angle(cosine: tf.Tensor, margin: float) -> tf.Tensor:
    # cos(t + m) = cos t cos m - sin t sin m; the root's gradient would be infinite at |cos t| = 1
    sine = tf.sqrt(tf.maximum(1.0 - cosine * cosine, 1e-6))
    added = cosine * math.cos(margin) - sine * math.sin(margin)
    # Where t + m would pass pi its cosine rises again; the released code goes on falling: cos t - m sin m
    return tf.where(cosine > -math.cos(margin), added, cosine - margin * math.sin(margin))
