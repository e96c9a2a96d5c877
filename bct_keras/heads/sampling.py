"""Some of the classes for a step: https://arxiv.org/abs/2203.15565 (Partial FC)"""

import tensorflow as tf


def sampled_classes(present: tf.Tensor, classes: int, count: int, seed) -> tf.Tensor:
    """[count] in rising order: those `present` [any number, repeats allowed], and others drawn uniformly"""
    # Every class has a number in [0, 1), those present 2: the greatest ones are taken.
    numbers = tf.random.stateless_uniform((classes,), seed)
    numbers = tf.tensor_scatter_nd_update(numbers, present[:, None], tf.fill(tf.shape(present), 2.0))
    needed = tf.reduce_sum(tf.cast(numbers > 1.0, tf.int32))
    room = tf.debugging.Assert(
        needed <= count,
        [
            f"sample_rate leaves no room for the batch: it takes {count} of the {classes} classes on a device; raise "
            "it, or lower the batch size, whose classes alone are",
            needed,
        ],
    )
    with tf.control_dependencies([] if room is None else [room]):
        return tf.sort(tf.math.top_k(numbers, count, sorted=False).indices)


def columns_of(labels: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """[batch]: where each label stands in `classes`, which rise; -1 where it does not"""
    places = tf.minimum(tf.searchsorted(classes, labels), tf.shape(classes)[0] - 1)
    return tf.where(tf.gather(classes, places) == labels, places, -1)
