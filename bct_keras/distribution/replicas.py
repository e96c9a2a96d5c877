"""What replicas share within a step: rows, sums, and who is who."""

from typing import Any

import tensorflow as tf

from bct_keras._tensorflow import variable_on_one_device


def gather_rows(rows: tf.Tensor) -> tf.Tensor:
    """Returns the rows of all replicas, in the order of the global batch."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows
    return context.all_gather(rows, axis=0)


def own_rows(rows: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Returns this replica's rows of the global batch; every replica has `count`."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows
    start = context.replica_id_in_sync_group * count
    return rows[start : start + count]


def sum_rows(rows: tf.Tensor) -> tf.Tensor:
    """Returns the sum over all replicas, row by row."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows
    return context.all_reduce(tf.distribute.ReduceOp.SUM, rows)


def devices() -> list[str | None]:
    """Returns the devices of this process's replicas; None is wherever TensorFlow puts things."""
    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync == 1:
        return [None]
    return list(strategy.extended.worker_devices)


def replica_index() -> int:
    """Returns which of the replicas runs this."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return 0
    known: Any = tf.get_static_value(context.replica_id_in_sync_group)
    return int(known)


def plain_variable(value: tf.Tensor, device: str | None, name: str) -> tf.Variable:
    """Makes a variable on one device alone, also in a strategy's scope."""

    def creator(next_creator, **given):
        return variable_on_one_device(value, name)

    with tf.variable_creator_scope(creator), tf.device(device):
        return tf.Variable(value)
