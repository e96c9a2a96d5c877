"""Devices and replicas."""

import tensorflow as tf
from tensorflow.python.ops.resource_variable_ops import ResourceVariable

from bct_keras.errors import InputError


def strategy(replicas: int) -> tf.distribute.Strategy:
    """All GPUs, or one CPU; replicas > 1 without as many GPUs divides the CPU into logical devices.

    Has to come before anything else makes TensorFlow look at its devices.
    """
    gpus = tf.config.list_physical_devices("GPU")
    replicas = replicas or max(len(gpus), 1)
    if replicas == 1:
        # The default one: under OneDeviceStrategy synchronized BatchNormalization takes twice the time.
        return tf.distribute.get_strategy()
    if gpus and replicas > len(gpus):
        raise InputError(f"--replicas={replicas}, and there are {len(gpus)} GPUs")
    if not gpus:
        divide_cpu(replicas)
    kind = "GPU" if gpus else "CPU"
    return tf.distribute.MirroredStrategy([f"{kind}:{index}" for index in range(replicas)])


def divide_cpu(replicas: int) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    found = tf.config.get_logical_device_configuration(cpu)
    if len(found or ()) == replicas:
        return
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    except RuntimeError as error:
        raise InputError(f"--replicas={replicas} came after TensorFlow had started: {error}") from None


def gather_rows(rows: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas, in the order of the global batch."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows
    return context.all_gather(rows, axis=0)


def own_rows(rows: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """This replica's rows of the global batch; every replica has `count`."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows
    start = context.replica_id_in_sync_group * count
    return rows[start : start + count]


def sum_rows(rows: tf.Tensor) -> tf.Tensor:
    """Of all replicas, row by row."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows
    return context.all_reduce(tf.distribute.ReduceOp.SUM, rows)


def devices() -> list[str | None]:
    """Of this process's replicas; None is wherever TensorFlow puts things."""
    strategy = tf.distribute.get_strategy()
    return list(strategy.extended.worker_devices) if strategy.num_replicas_in_sync > 1 else [None]


def replica_index() -> int:
    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group


def plain_variable(value: tf.Tensor, device: str | None, name: str) -> tf.Variable:
    """On one device alone: within a strategy's scope tf.Variable makes a copy for each."""

    def creator(next_creator, **given):
        return ResourceVariable(value, trainable=False, name=name)

    with tf.variable_creator_scope(creator), tf.device(device):
        return tf.Variable(value)
