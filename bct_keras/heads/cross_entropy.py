"""Cross entropy of scaled cosines, with its gradient written out: no one-hot labels, and few copies of the logits."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from bct_keras import distribution

# From so many classes on XLA compiles both passes: half the time and half the copies, for a second or two at the start.
COMPILED_FROM = 8192


def unchanged(rows: tf.Tensor, *_) -> tf.Tensor:
    return rows


class CosineCrossEntropy:
    """Of scale * cos(x, w_j), and scale * margin(cos, strength) for each row's own class.

    A class has `centres` rows of weights, one beside the other; the nearest one counts. With `sharded` each replica
    has the weights of other classes, and the loss is that over all of them.
    """

    def __init__(
        self,
        margin: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        scale: float,
        filter_above: float,  # cosines of other classes above this count as 0; 0 filters none
        smoothing: float,
        centres: int = 1,
        sharded: bool = False,
    ):
        self.margin = margin
        self.scale = scale
        self.filter_above = filter_above
        self.smoothing = smoothing
        self.centres = centres
        self.gather = distribution.gather_rows if sharded else unchanged
        self.own_rows = distribution.own_rows if sharded else unchanged
        self.sum_rows = distribution.sum_rows if sharded else unchanged
        self.compiled = (tf.function(self.forward, jit_compile=True), tf.function(self.backward, jit_compile=True))

    def losses(self, directions, class_weights, strength, columns) -> tf.Tensor:
        """[batch, dims] of length 1, [classes, centres * dims], [batch] -> [batch]

        `columns` [batch, of all replicas if sharded]: where a row's own class stands among the weights here, or -1.
        """
        rows = tf.shape(directions)[0]
        many = class_weights.shape[0] >= COMPILED_FROM
        forward, backward = self.compiled if many else (self.forward, self.backward)

        @tf.custom_gradient
        def losses(directions, class_weights, strength) -> Any:
            every, strengths = self.gather(directions), self.gather(strength)
            cosine, inverse, parts = forward(every, class_weights, strengths, columns)
            # [shards, 4, batch]: of all the classes from those of each shard
            own, log_totals, sums, counts = tf.unstack(self.gather(parts[None]), 4, axis=1)
            log_total = tf.reduce_logsumexp(log_totals, axis=0)
            count = tf.reduce_sum(counts, axis=0)
            # loss = log sum_j exp z_j - (1 - e) z_y - e mean_j z_j
            loss = log_total - (1.0 - self.smoothing) * tf.reduce_sum(own, axis=0)
            if self.smoothing:
                loss -= self.smoothing * tf.reduce_sum(sums, axis=0) / count

            def gradient(upstream):
                d_directions, d_weights, d_strength = backward(
                    every, class_weights, strengths, columns, cosine, inverse, log_total, count, self.gather(upstream)
                )
                # Each shard's classes pull at every row.
                pulls = [self.own_rows(self.sum_rows(pull), rows) for pull in (d_directions, d_strength)]
                return pulls[0], d_weights, pulls[1]

            return self.own_rows(loss, rows), gradient

        return losses(directions, class_weights, strength)

    def forward(self, directions, class_weights, strength, columns):
        """The cosines, 1 / |w|, and of each row: own logit, log of the sum of exponentials, sum of logits, classes"""
        flat = tf.reshape(class_weights, (-1, class_weights.shape[1] // self.centres))
        # A product with ones, because XLA sums rows on a CPU one number after the other
        squared = tf.linalg.matvec(tf.square(flat), tf.ones((flat.shape[1],)))
        inverse = tf.math.rsqrt(tf.maximum(squared, 1e-12))
        # Divided by the length after the product: [batch, classes] is less than [classes, dims]
        cosine = tf.clip_by_value(tf.matmul(directions, flat, transpose_b=True) * inverse, -1.0, 1.0)
        logits = self.logits(cosine, columns, strength)
        own = tf.where(columns >= 0, tf.gather_nd(logits, places_of(columns)), 0.0)
        classes = tf.fill(tf.shape(own), tf.cast(tf.shape(logits)[1], tf.float32))
        sums = tf.reduce_sum(logits, axis=1) if self.smoothing else classes
        return cosine, inverse, tf.stack([own, tf.reduce_logsumexp(logits, axis=1), sums, classes])

    def logits(self, cosine: tf.Tensor, columns: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
        """[batch, classes * centres] -> [batch, classes]"""
        nearest = self.nearest(cosine)
        own = tf.gather_nd(nearest, places_of(columns))
        return replaced(self.scale * self.kept(nearest), columns, self.scale * self.margin(own, strength))

    def nearest(self, cosine: tf.Tensor) -> tf.Tensor:
        # cos(x, class j) = max over c of cos(x, w_jc)
        if self.centres == 1:
            return cosine
        return tf.reduce_max(tf.reshape(cosine, (tf.shape(cosine)[0], -1, self.centres)), axis=2)

    def kept(self, cosine: tf.Tensor) -> tf.Tensor:
        return tf.where(cosine > self.filter_above, 0.0, cosine) if self.filter_above else cosine

    def backward(self, directions, class_weights, strength, columns, cosine, inverse, log_total, count, upstream):
        """With respect to directions, class weights and strength, from the gradient [batch] of the losses"""
        flat = tf.reshape(class_weights, (-1, class_weights.shape[1] // self.centres))
        d_cosine, d_strength = self.to_cosines(cosine, columns, strength, log_total, count, upstream)
        # d cos / d x = w / |w|;  d cos / d w = x / |w| - cos w / |w|^2
        scaled = d_cosine * inverse
        along = tf.reduce_sum(d_cosine * cosine, axis=0) * inverse * inverse
        d_directions = tf.matmul(scaled, flat)
        d_weights = tf.matmul(scaled, directions, transpose_a=True) - flat * along[:, None]
        return d_directions, tf.reshape(d_weights, tf.shape(class_weights)), d_strength

    def to_cosines(self, cosine, columns, strength, log_total, count, upstream):
        """[batch, classes * centres] and [batch]"""
        nearest = self.nearest(cosine)
        # d loss / d z_j = p_j - e / n - (1 - e) [j = y]
        d_logits = tf.exp(self.logits(cosine, columns, strength) - log_total[:, None])
        if self.smoothing:
            d_logits -= self.smoothing / count[:, None]
        upstream = upstream * self.scale
        own = (tf.gather_nd(d_logits, places_of(columns)) - (1.0 - self.smoothing)) * upstream
        d_own, d_strength = self.to_margin(tf.gather_nd(nearest, places_of(columns)), strength, own)
        d_nearest = d_logits * upstream[:, None]
        if self.filter_above:
            d_nearest = tf.where(nearest > self.filter_above, 0.0, d_nearest)
        d_nearest = replaced(d_nearest, columns, d_own)
        return self.to_centres(d_nearest, nearest, cosine), tf.where(columns >= 0, d_strength, 0.0)

    def to_margin(self, own: tf.Tensor, strength: tf.Tensor, gradient: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([own, strength])
            changed = self.margin(own, strength)
        return tape.gradient(
            changed, [own, strength], output_gradients=gradient, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

    def to_centres(self, d_nearest: tf.Tensor, nearest: tf.Tensor, cosine: tf.Tensor) -> tf.Tensor:
        """Centres that are equally near share the gradient."""
        if self.centres == 1:
            return d_nearest
        every = tf.reshape(cosine, (tf.shape(cosine)[0], -1, self.centres))
        chosen = tf.cast(every == nearest[:, :, None], tf.float32)
        shares = chosen / tf.reduce_sum(chosen, axis=2, keepdims=True)
        return tf.reshape(d_nearest[:, :, None] * shares, tf.shape(cosine))


def places_of(columns: tf.Tensor) -> tf.Tensor:
    return tf.stack([tf.range(tf.shape(columns)[0]), tf.maximum(columns, 0)], axis=1)


def replaced(values: tf.Tensor, columns: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
    """`own` [batch] in each row's column; nothing where that is -1"""
    places = places_of(columns)
    return tf.tensor_scatter_nd_update(values, places, tf.where(columns >= 0, own, tf.gather_nd(values, places)))
