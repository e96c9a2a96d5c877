"""Computes the cross entropy of scaled cosines, with its gradient written out.

So there are no one-hot labels, and few copies of the logits.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from bct_keras.distribution import replicas

# From so many classes on XLA compiles both passes: half the time and half the copies, for a second
# or two at the start.
COMPILED_FROM = 8192


# What goes in and out of the two passes. Named tuples, because compiled functions take no other
# class of our own.


class Given(NamedTuple):
    """Holds what losses are computed from; with `sharded` the rows are those of all replicas."""

    directions: tf.Tensor  # [batch, dims] of length 1
    class_weights: tf.Tensor  # [classes, centres * dims]
    strength: tf.Tensor  # [batch]
    columns: tf.Tensor  # [batch]


class Cosines(NamedTuple):
    """Holds what the forward pass leaves for the backward one."""

    cosine: tf.Tensor  # [batch, classes * centres]
    inverse_length: tf.Tensor  # [classes * centres], 1 / |w|


class Sums(NamedTuple):
    """Holds what the loss needs of each row's logits, over a shard's classes or all; [batch]."""

    own: tf.Tensor  # the logit of the own class, or 0 where that is in another shard
    log_total: tf.Tensor  # log sum_j exp z_j
    total: tf.Tensor  # sum_j z_j, where labels are smoothed
    classes: tf.Tensor  # how many there are


class Forward(NamedTuple):
    """Holds what the forward pass returns."""

    cosines: Cosines
    sums: Sums


class Gradients(NamedTuple):
    """Holds the gradients with respect to the parts of `Given` that have one."""

    directions: tf.Tensor
    class_weights: tf.Tensor
    strength: tf.Tensor


def unchanged(rows: tf.Tensor, *_) -> tf.Tensor:
    """Returns the rows, where no other replica has some."""
    return rows


class CosineCrossEntropy:
    """Computes the loss of scale * cos(x, w_j), with margin(cos, strength) for the own class.

    A class has `centres` rows of weights, one beside the other; the nearest one counts. With
    `sharded` each replica has the weights of other classes, and the loss is that over all of them.
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
        self.gather = replicas.gather_rows if sharded else unchanged
        self.own_rows = replicas.own_rows if sharded else unchanged
        self.sum_rows = replicas.sum_rows if sharded else unchanged
        self.compiled_forward = tf.function(self.forward, jit_compile=True)
        self.compiled_backward = tf.function(self.backward, jit_compile=True)

    def losses(self, directions, class_weights, strength, columns) -> tf.Tensor:
        """Returns the losses, [batch].

        Args:
            directions: [batch, dims] of length 1
            class_weights: [classes, centres * dims]
            strength: [batch]
            columns: [batch, of all replicas if sharded], where a row's own class stands among the
                weights here, or -1
        """
        rows = tf.shape(directions)[0]
        many = class_weights.shape[0] >= COMPILED_FROM
        forward = self.compiled_forward if many else self.forward
        backward = self.compiled_backward if many else self.backward

        @tf.custom_gradient
        def losses(directions, class_weights, strength) -> Any:
            given = Given(self.gather(directions), class_weights, self.gather(strength), columns)
            cosines, sums_here = forward(given)
            sums = self.over_shards(sums_here)

            def gradient(upstream):
                found = backward(given, cosines, sums, self.gather(upstream))
                # Each shard's classes pull at every row.
                d_directions = self.own_rows(self.sum_rows(found.directions), rows)
                d_strength = self.own_rows(self.sum_rows(found.strength), rows)
                return d_directions, found.class_weights, d_strength

            return self.own_rows(self.loss(sums), rows), gradient

        return losses(directions, class_weights, strength)

    def loss(self, sums: Sums) -> tf.Tensor:
        """Returns log sum_j exp z_j - (1 - e) z_y - e mean_j z_j."""
        loss = sums.log_total - (1.0 - self.smoothing) * sums.own
        if self.smoothing:
            loss -= self.smoothing * sums.total / sums.classes
        return loss

    def over_shards(self, sums: Sums) -> Sums:
        """Returns the sums over all classes from those over each shard's."""
        together = self.gather(tf.stack(sums)[None])  # [shards, 4, batch], in one message
        each = Sums(*tf.unstack(together, len(sums), axis=1))
        return Sums(
            own=tf.reduce_sum(each.own, axis=0),
            log_total=tf.reduce_logsumexp(each.log_total, axis=0),
            total=tf.reduce_sum(each.total, axis=0),
            classes=tf.reduce_sum(each.classes, axis=0),
        )

    def forward(self, given: Given) -> Forward:
        """Returns the cosines, and the sums over the classes here."""
        flat = self.flat(given.class_weights)
        inverse_length = inverse_lengths(flat)
        # Divided by the length after the product: [batch, classes] is less than [classes, dims]
        cosine = tf.matmul(given.directions, flat, transpose_b=True) * inverse_length
        cosine = tf.clip_by_value(cosine, -1.0, 1.0)
        logits = self.logits(cosine, given.columns, given.strength)
        sums = self.sums(logits, given.columns)
        return Forward(Cosines(cosine, inverse_length), sums)

    def flat(self, class_weights: tf.Tensor) -> tf.Tensor:
        """Returns the weights with a row for each centre, [classes * centres, dims]."""
        width: Any = class_weights.shape[1]
        dims = width // self.centres
        return tf.reshape(class_weights, (-1, dims))

    def sums(self, logits: tf.Tensor, columns: tf.Tensor) -> Sums:
        """Returns the sums over the classes of these logits."""
        own = tf.where(columns >= 0, at(logits, columns), 0.0)
        count = tf.cast(tf.shape(logits)[1], tf.float32)
        classes = tf.fill(tf.shape(own), count)
        total = classes  # as large, and not looked at
        if self.smoothing:
            total = tf.reduce_sum(logits, axis=1)
        return Sums(
            own=own,
            log_total=tf.reduce_logsumexp(logits, axis=1),
            total=total,
            classes=classes,
        )

    def logits(self, cosine: tf.Tensor, columns: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
        """Returns the logits [batch, classes] of cosines [batch, classes * centres]."""
        nearest = self.nearest(cosine)
        own = self.margin(at(nearest, columns), strength)
        others = self.scale * self.kept(nearest)
        return replaced(others, columns, self.scale * own)

    def nearest(self, cosine: tf.Tensor) -> tf.Tensor:
        """Returns cos(x, class j) = max over c of cos(x, w_jc), [batch, classes]."""
        if self.centres == 1:
            return cosine
        return tf.reduce_max(self.by_centre(cosine), axis=2)

    def by_centre(self, cosine: tf.Tensor) -> tf.Tensor:
        """Returns the cosines as [batch, classes, centres]."""
        rows = tf.shape(cosine)[0]
        return tf.reshape(cosine, (rows, -1, self.centres))

    def kept(self, cosine: tf.Tensor) -> tf.Tensor:
        """Returns the cosines, with 0 for those that are filtered."""
        if not self.filter_above:
            return cosine
        return tf.where(cosine > self.filter_above, 0.0, cosine)

    def backward(
        self, given: Given, cosines: Cosines, sums: Sums, upstream: tf.Tensor
    ) -> Gradients:
        """Returns the gradients, from that of the losses, [batch]."""
        flat = self.flat(given.class_weights)
        d_cosine, d_strength = self.to_cosines(given, cosines.cosine, sums, upstream)
        # d cos / d x = w / |w|;  d cos / d w = x / |w| - cos w / |w|^2
        inverse_length = cosines.inverse_length
        scaled = d_cosine * inverse_length
        total = tf.reduce_sum(d_cosine * cosines.cosine, axis=0)
        along = total * inverse_length * inverse_length
        across = tf.matmul(scaled, given.directions, transpose_a=True)
        d_flat = across - flat * along[:, None]
        return Gradients(
            directions=tf.matmul(scaled, flat),
            class_weights=tf.reshape(d_flat, tf.shape(given.class_weights)),
            strength=d_strength,
        )

    def to_cosines(
        self,
        given: Given,
        cosine: tf.Tensor,
        sums: Sums,
        upstream: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the gradients with respect to the cosines and the strength."""
        columns = given.columns
        nearest = self.nearest(cosine)
        # d loss / d z_j = p_j - e / n - (1 - e) [j = y]
        logits = self.logits(cosine, columns, given.strength)
        d_logits = tf.exp(logits - sums.log_total[:, None])
        if self.smoothing:
            d_logits -= self.smoothing / sums.classes[:, None]
        upstream = upstream * self.scale
        at_own = at(d_logits, columns) - (1.0 - self.smoothing)
        own = at(nearest, columns)
        d_own, d_strength = self.to_margin(own, given.strength, at_own * upstream)
        d_nearest = d_logits * upstream[:, None]
        if self.filter_above:
            d_nearest = tf.where(nearest > self.filter_above, 0.0, d_nearest)
        d_nearest = replaced(d_nearest, columns, d_own)
        d_strength = tf.where(columns >= 0, d_strength, 0.0)
        return self.to_centres(d_nearest, nearest, cosine), d_strength

    def to_margin(self, own: tf.Tensor, strength: tf.Tensor, gradient: Any) -> Any:
        """Returns the gradients with respect to the own cosine and the strength, [batch] each."""
        with tf.GradientTape() as tape:
            tape.watch([own, strength])
            changed = self.margin(own, strength)
        return tape.gradient(
            changed,
            [own, strength],
            output_gradients=gradient,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )

    def to_centres(self, d_nearest: tf.Tensor, nearest: tf.Tensor, cosine: tf.Tensor) -> tf.Tensor:
        """Returns the gradient of each centre's cosine; centres that are equally near share it."""
        if self.centres == 1:
            return d_nearest
        is_nearest = self.by_centre(cosine) == nearest[:, :, None]
        chosen = tf.cast(is_nearest, tf.float32)
        shares = chosen / tf.reduce_sum(chosen, axis=2, keepdims=True)
        d_centres = d_nearest[:, :, None] * shares
        return tf.reshape(d_centres, tf.shape(cosine))


def inverse_lengths(rows: tf.Tensor) -> tf.Tensor:
    """Returns 1 / |w| of each row."""
    # A product with ones, because XLA sums rows on a CPU one number after the other
    ones = tf.ones((rows.shape[1],))
    squared = tf.linalg.matvec(tf.square(rows), ones)
    return tf.math.rsqrt(tf.maximum(squared, 1e-12))


def places_of(columns: tf.Tensor) -> tf.Tensor:
    """Returns (row, column) of each row, [batch, 2], with column 0 for -1."""
    rows = tf.range(tf.shape(columns)[0])
    existing = tf.maximum(columns, 0)
    return tf.stack([rows, existing], axis=1)


def at(values: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Returns the value in each row's column, [batch]; where that is -1, some other one."""
    places = places_of(columns)
    return tf.gather_nd(values, places)


def replaced(values: tf.Tensor, columns: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
    """Returns the values with `own` [batch] in each row's column, unless that is -1."""
    places = places_of(columns)
    before = tf.gather_nd(values, places)
    after = tf.where(columns >= 0, own, before)
    return tf.tensor_scatter_nd_update(values, places, after)
