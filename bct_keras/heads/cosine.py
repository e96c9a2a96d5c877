"""Heads on the cosine between an embedding and its class; a variant overrides `margin`."""

import tensorflow as tf

from bct_keras.errors import InputError
from bct_keras.heads.cross_entropy import CosineLogits, cosine_cross_entropy, cosines, inverse_lengths, places_of
from bct_keras.heads.head import Head
from bct_keras.heads.margins import with_gradient


class CosineHead(Head):
    """logit_j = scale cos(x, w_j), and scale margin(cos(x, w_y)) for the embedding's own class y.

    gradient="straight_through" leaves the margin out of the gradient, as InsightFace does; cosines of other classes
    above `filter_above` count as 0: those classes may be the same person.
    """

    def __init__(
        self,
        classes: int,
        dims: int,
        scale: float,
        gradient: str = "exact",
        label_smoothing: float = 0.0,
        filter_above: float = 0.0,
    ):
        super().__init__(classes, dims)
        if not 0 <= label_smoothing < 1:
            raise InputError(f"label_smoothing={label_smoothing:g} of a head has to be at least 0 and below 1")
        self.form = CosineLogits(with_gradient(self.margin, gradient), scale, filter_above, label_smoothing)

    def margin(self, cosine: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
        """[batch], [batch] -> [batch]"""
        return cosine

    def strength(self, lengths: tf.Tensor) -> tf.Tensor:
        """[batch] what the margin shall know of the embeddings' lengths"""
        return tf.zeros_like(lengths)

    def length_loss(self, lengths: tf.Tensor) -> tf.Tensor:
        """[batch] on top of the cross entropy"""
        return tf.zeros_like(lengths)

    def losses(self, embeddings, labels):
        directions, lengths = divided(embeddings)
        strength = self.strength(lengths)
        losses = cosine_cross_entropy(directions, self.class_weights, strength, labels, self.form)
        return losses + self.length_loss(lengths)

    def logits(self, embeddings, labels):
        directions, lengths = divided(embeddings)
        cosine = cosines(directions, self.class_weights, inverse_lengths(self.class_weights))
        return self.form.logits(cosine, places_of(labels), self.strength(lengths))


def divided(embeddings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Directions and lengths"""
    squared = tf.reduce_sum(tf.square(embeddings), axis=1)
    held = tf.maximum(squared, 1e-12)
    # A zero vector has no direction, and no gradient: 1 / |x| there would be more than 16 bits hold.
    inverse = tf.where(squared < 1e-12, 0.0, tf.math.rsqrt(held))
    return embeddings * inverse[:, None], tf.sqrt(held)
