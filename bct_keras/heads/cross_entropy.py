"""Cross entropy of scaled cosines, with its gradient written out: no one-hot labels, and few copies of the logits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True)
class CosineLogits:
    """scale * cos(x, w_j), and scale * margin(cos, strength) for each row's own class."""

    margin: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    scale: float
    filter_above: float  # cosines of other classes above this count as 0; 0 filters none
    smoothing: float

    def kept(self, cosine: tf.Tensor) -> tf.Tensor:
        return tf.where(cosine > self.filter_above, 0.0, cosine) if self.filter_above else cosine

    def logits(self, cosine: tf.Tensor, places: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
        target = self.margin(tf.gather_nd(cosine, places), strength)
        return tf.tensor_scatter_nd_update(self.scale * self.kept(cosine), places, self.scale * target)


def inverse_lengths(class_weights: tf.Tensor) -> tf.Tensor:
    return tf.math.rsqrt(tf.maximum(tf.reduce_sum(tf.square(class_weights), axis=1), 1e-12))


def cosines(directions: tf.Tensor, class_weights: tf.Tensor, inverse: tf.Tensor) -> tf.Tensor:
    """[batch, dims] of length 1, [classes, dims], [classes] -> [batch, classes]"""
    # Divided by the length after the product: [batch, classes] is less than [classes, dims]
    return tf.clip_by_value(tf.matmul(directions, class_weights, transpose_b=True) * inverse, -1.0, 1.0)


def places_of(labels: tf.Tensor) -> tf.Tensor:
    return tf.stack([tf.range(tf.shape(labels)[0]), labels], axis=1)


def cosine_cross_entropy(directions, class_weights, strength, labels, form: CosineLogits) -> tf.Tensor:
    """[batch, dims] of length 1, [classes, dims], [batch], [batch] -> [batch]"""
    places = places_of(labels)

    @tf.custom_gradient
    def losses(directions, class_weights, strength) -> Any:
        inverse = inverse_lengths(class_weights)
        cosine = cosines(directions, class_weights, inverse)
        logits = form.logits(cosine, places, strength)
        own = tf.gather_nd(logits, places)
        # loss = log sum_j exp z_j - (1 - e) z_y - e mean_j z_j
        largest = tf.reduce_max(logits, axis=1, keepdims=True)
        total = tf.reduce_sum(tf.exp(logits - largest), axis=1, keepdims=True)
        loss = (largest + tf.math.log(total))[:, 0] - (1.0 - form.smoothing) * own
        if form.smoothing:
            loss -= form.smoothing * tf.reduce_mean(logits, axis=1)

        def gradient(upstream):
            d_cosine, d_strength = gradient_of_cosines(
                cosine, logits, largest, total, upstream[:, None], places, strength, form
            )
            # d cos / d x = w / |w|;  d cos / d w = x / |w| - cos w / |w|^2
            scaled = d_cosine * inverse
            along = tf.reduce_sum(d_cosine * cosine, axis=0) * inverse * inverse
            d_directions = tf.matmul(scaled, class_weights)
            d_weights = tf.matmul(scaled, directions, transpose_a=True) - class_weights * along[:, None]
            return d_directions, d_weights, d_strength

        return loss, gradient

    return losses(directions, tf.convert_to_tensor(class_weights), strength)


def gradient_of_cosines(cosine, logits, largest, total, upstream, places, strength, form: CosineLogits):
    """[batch, classes] and [batch], from the gradient [batch, 1] of the losses"""
    # d loss / d z_j = p_j - e / n - (1 - e) [j = y]
    d_logits = tf.exp(logits - largest) / total
    if form.smoothing:
        d_logits -= form.smoothing / tf.cast(tf.shape(logits)[1], tf.float32)
    own = (tf.gather_nd(d_logits, places) - (1.0 - form.smoothing)) * upstream[:, 0] * form.scale
    target = tf.gather_nd(cosine, places)
    with tf.GradientTape() as tape:
        tape.watch([target, strength])
        changed = form.margin(target, strength)
    gradients: Any = tape.gradient(
        changed, [target, strength], output_gradients=own, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    d_target, d_strength = gradients
    d_cosine = d_logits * (upstream * form.scale)
    if form.filter_above:
        d_cosine = tf.where(cosine > form.filter_above, 0.0, d_cosine)
    return tf.tensor_scatter_nd_update(d_cosine, places, d_target), d_strength
