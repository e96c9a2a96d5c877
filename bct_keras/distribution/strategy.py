"""Which devices train: one, all of this machine, or those of all workers."""

import tensorflow as tf

from bct_keras.distribution.workers import cluster, worker_count
from bct_keras.errors import InputError, option

KINDS = ("auto", "one", "mirrored", "multiworker")


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
        # The default one: under OneDeviceStrategy synchronized BatchNormalization is half as fast.
        return tf.distribute.get_strategy()
    if not gpus:
        divide_cpu(replicas)
    device = "GPU" if gpus else "CPU"
    return tf.distribute.MirroredStrategy([f"{device}:{index}" for index in range(replicas)])


def spreads(kind: str) -> bool:
    """Tells whether a strategy of this kind is over several workers."""
    if kind == "auto":
        return worker_count() > 1
    return kind == "multiworker"


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
