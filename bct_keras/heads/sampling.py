"""Chooses some of the classes for a step, as Partial FC does.

https://arxiv.org/abs/2203.15565
"""

import tensorflow as tf


def sampled_classes(present: tf.Tensor, classes: int, count: int, seed) -> tf.Tensor:
    """Returns [count] classes in rising order: those that are present, and others drawn uniformly.

    Args:
        present: [any number], repeats allowed.
        classes: How many there are in all.
        count: How many are taken.
        seed: [2], of the draw.
    """
    # Every class has a number in [0, 1), those present 2: the greatest ones are taken.
    numbers = tf.random.stateless_uniform((classes,), seed)
    places = present[:, None]
    numbers = tf.tensor_scatter_nd_update(numbers, places, tf.fill(tf.shape(present), 2.0))
    needed = tf.reduce_sum(tf.cast(numbers > 1.0, tf.int32))
    said = (
        f"sample_rate leaves no room for the batch: it takes {count} of the {classes} classes on a "
        "device; raise it, or lower the batch size, whose classes alone are"
    )
    room = tf.debugging.Assert(needed <= count, [said, needed])
    with tf.control_dependencies([] if room is None else [room]):
        drawn = tf.math.top_k(numbers, count, sorted=False)
        return tf.sort(drawn.indices)


def columns_of(labels: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Returns where each label stands in the rising `classes`, -1 where it does not, [batch]."""
    last = tf.shape(classes)[0] - 1
    places = tf.minimum(tf.searchsorted(classes, labels), last)
    found = tf.gather(classes, places)
    return tf.where(found == labels, places, -1)
