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
    """Returns the strategy over all GPUs of all workers, or over one CPU.

    It has to come before anything else makes TensorFlow look at its devices.

    Args:
        kind: One of `KINDS`.
        replicas: How many of this machine's devices train; 0 is all GPUs. Without as many GPUs the
            CPU is divided into logical devices.
    """
    replicas = replicas_here(kind, replicas)
    if spreads(kind):
        return multi_worker()
    gpus = tf.config.list_physical_devices("GPU")
    if replicas == 1 and kind != "mirrored":
        # The default one: under OneDeviceStrategy synchronized BatchNormalization takes twice as
        # long.
        return tf.distribute.get_strategy()
    if not gpus:
        divide_cpu(replicas)
    device = "GPU" if gpus else "CPU"
    return tf.distribute.MirroredStrategy([f"{device}:{index}" for index in range(replicas)])


def spreads(kind: str) -> bool:
    """Returns whether a strategy of this kind is over several workers."""
    return kind == "multiworker" or (kind == "auto" and worker_count() > 1)


def replicas_here(kind: str, asked: int) -> int:
    """Returns how many devices of this machine train, where 0 asks for all."""
    gpus = len(tf.config.list_physical_devices("GPU"))
    replicas = option("replicas", asked)
    if asked and spreads(kind):
        raise InputError(
            f"{replicas} is for one machine: each worker trains on all GPUs that it sees, or on "
            "its CPU; CUDA_VISIBLE_DEVICES hides some"
        )
    if asked > 1 and kind == "one":
        one = option("strategy", kind)
        raise InputError(f"{one} is one device, and {replicas} asks for more")
    if gpus and asked > gpus:
        raise InputError(f"{replicas}, and this machine has {gpus} GPU(s)")
    if kind == "one":
        return 1
    return asked or max(gpus, 1)


def multi_worker() -> tf.distribute.Strategy:
    """Returns the strategy over the workers that TF_CONFIG tells of."""
    if not cluster():
        several = option("strategy", "multiworker")
        raise InputError(
            f"{several} needs the environment variable TF_CONFIG, with a cluster of workers and "
            "this process's task, as the Kubeflow training operator sets it"
        )
    gpus = tf.config.list_physical_devices("GPU")
    known = tf.distribute.experimental.CommunicationImplementation
    chosen = known.AUTO if gpus else known.RING
    options = tf.distribute.experimental.CommunicationOptions(implementation=chosen)
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


def cluster() -> dict[str, Any]:
    """Returns what TF_CONFIG says, empty without it.

    {"cluster": {"worker": [address, ...]}, "task": {"type": ..., "index": ...}}
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        found = json.loads(text or "{}")
        workers = {job: list(addresses) for job, addresses in found.get("cluster", {}).items()}
        task = found.get("task", {})
        if workers and task["index"] >= len(workers[task["type"]]):
            raise IndexError(task)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(
            f"the environment variable TF_CONFIG cannot be understood ({error!r}): {text}"
        ) from None
    return found if workers else {}


def worker_count() -> int:
    """Returns how many workers there are, the chief included."""
    jobs = cluster().get("cluster", {})
    count = 0
    for job in ("chief", "worker"):
        count += len(jobs.get(job, ()))
    return count


def worker_index() -> int:
    """Returns which worker this is; 0 is the chief, which alone writes what all share."""
    found = cluster()
    if not found or found["task"]["type"] == "chief":
        return 0
    return found["task"]["index"] + len(found["cluster"].get("chief", ()))


def spans_workers(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether a strategy is over several workers."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def chief_first(strategy: tf.distribute.Strategy, make: Callable[[], Result]) -> Result:
    """Lets the chief make what all workers read, on a file system that they share.

    The others wait for it, and find it made.
    """
    if not spans_workers(strategy):
        return make()
    if worker_index():
        barrier(strategy)
        return make()
    made = make()
    barrier(strategy)
    return made


def barrier(strategy: tf.distribute.Strategy) -> None:
    """Waits until every worker is here."""
    least(strategy, 0)


def least(strategy: tf.distribute.Strategy, value: int) -> int:
    """Returns the smallest of the workers' values; every worker has to ask."""
    if not spans_workers(strategy):
        return value
    own = strategy.run(lambda: tf.constant([value], tf.int64))
    return int(tf.reduce_min(strategy.gather(own, axis=0)))


def divide_cpu(replicas: int) -> None:
    """Divides the CPU into so many logical devices."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    found = tf.config.get_logical_device_configuration(cpu)
    if len(found or ()) == replicas:
        return
    try:
        parts = [tf.config.LogicalDeviceConfiguration()] * replicas
        tf.config.set_logical_device_configuration(cpu, parts)
    except RuntimeError as error:
        given = option("replicas", replicas)
        raise InputError(f"{given} came after TensorFlow had started: {error}") from None


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
