"""Devices, replicas and workers."""

import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

from bct_keras._tensorflow import variable_on_one_device
from bct_keras.errors import InputError, option

KINDS = ("auto", "one", "mirrored", "multiworker")
Result = TypeVar("Result")


def strategy(kind: str = "auto", replicas: int = 0) -> tf.distribute.Strategy:
    """All GPUs of all workers, or one CPU; replicas > 1 without as many GPUs divides the CPU into logical devices.

    Has to come before anything else makes TensorFlow look at its devices.
    """
    replicas = replicas_here(kind, replicas)
    if spreads(kind):
        return multi_worker()
    gpus = tf.config.list_physical_devices("GPU")
    if replicas == 1 and kind != "mirrored":
        # The default one: under OneDeviceStrategy synchronized BatchNormalization takes twice the time.
        return tf.distribute.get_strategy()
    if not gpus:
        divide_cpu(replicas)
    device = "GPU" if gpus else "CPU"
    return tf.distribute.MirroredStrategy([f"{device}:{index}" for index in range(replicas)])


def spreads(kind: str) -> bool:
    """Over several workers"""
    return kind == "multiworker" or (kind == "auto" and worker_count() > 1)


def replicas_here(kind: str, asked: int) -> int:
    """How many devices of this machine train; 0 asks for all."""
    gpus = len(tf.config.list_physical_devices("GPU"))
    if asked and spreads(kind):
        raise InputError(
            f"{option('replicas', asked)} is for one machine: each worker trains on all GPUs that it sees, "
            "or on its CPU; CUDA_VISIBLE_DEVICES hides some"
        )
    if asked > 1 and kind == "one":
        raise InputError(f"{option('strategy', kind)} is one device, and {option('replicas', asked)} asks for more")
    if gpus and asked > gpus:
        raise InputError(f"{option('replicas', asked)}, and this machine has {gpus} GPU(s)")
    return 1 if kind == "one" else asked or max(gpus, 1)


def multi_worker() -> tf.distribute.Strategy:
    if not cluster():
        raise InputError(
            f"{option('strategy', 'multiworker')} needs the environment variable TF_CONFIG, with a cluster of "
            "workers and this process's task, as the Kubeflow training operator sets it"
        )
    gpus = tf.config.list_physical_devices("GPU")
    ring = tf.distribute.experimental.CommunicationImplementation.RING
    automatic = tf.distribute.experimental.CommunicationImplementation.AUTO
    options = tf.distribute.experimental.CommunicationOptions(implementation=automatic if gpus else ring)
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


def cluster() -> dict[str, Any]:
    """What TF_CONFIG says: {"cluster": {"worker": [address, ...]}, "task": {"type", "index"}}; empty without it."""
    text = os.environ.get("TF_CONFIG", "")
    try:
        found = json.loads(text or "{}")
        workers = {job: list(addresses) for job, addresses in found.get("cluster", {}).items()}
        task = found.get("task", {})
        if workers and task["index"] >= len(workers[task["type"]]):
            raise IndexError(task)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(f"the environment variable TF_CONFIG cannot be understood ({error!r}): {text}") from None
    return found if workers else {}


def worker_count() -> int:
    jobs = cluster().get("cluster", {})
    return sum(len(addresses) for job, addresses in jobs.items() if job in ("chief", "worker"))


def worker_index() -> int:
    """0 is the chief, which alone writes what all share."""
    found = cluster()
    if not found or found["task"]["type"] == "chief":
        return 0
    return found["task"]["index"] + len(found["cluster"].get("chief", ()))


def spans_workers(strategy: tf.distribute.Strategy) -> bool:
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def chief_first(strategy: tf.distribute.Strategy, make: Callable[[], Result]) -> Result:
    """Lets the chief make what all workers read, on a file system that they share; the others then find it made."""
    if not spans_workers(strategy):
        return make()
    if worker_index():
        barrier(strategy)
        return make()
    made = make()
    barrier(strategy)
    return made


def barrier(strategy: tf.distribute.Strategy) -> None:
    least(strategy, 0)


def least(strategy: tf.distribute.Strategy, value: int) -> int:
    """The smallest of the workers' values; every worker has to ask."""
    if not spans_workers(strategy):
        return value
    own = strategy.run(lambda: tf.constant([value], tf.int64))
    return int(tf.reduce_min(strategy.gather(own, axis=0)))


def divide_cpu(replicas: int) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    found = tf.config.get_logical_device_configuration(cpu)
    if len(found or ()) == replicas:
        return
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    except RuntimeError as error:
        raise InputError(f"{option('replicas', replicas)} came after TensorFlow had started: {error}") from None


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
    if context is None or context.num_replicas_in_sync == 1:
        return 0
    return int(tf.get_static_value(context.replica_id_in_sync_group))  # pyright: ignore[reportArgumentType]


def plain_variable(value: tf.Tensor, device: str | None, name: str) -> tf.Variable:
    """On one device alone: within a strategy's scope tf.Variable makes a copy for each."""

    def creator(next_creator, **given):
        return variable_on_one_device(value, name)

    with tf.variable_creator_scope(creator), tf.device(device):
        return tf.Variable(value)
