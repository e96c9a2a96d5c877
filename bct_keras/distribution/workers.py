"""The workers of a training over several machines, and what they do in turn."""

import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

from bct_keras.errors import InputError

Result = TypeVar("Result")


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
    """Tells whether a strategy is over several workers."""
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
    of_all = strategy.gather(own, axis=0)
    return int(tf.reduce_min(of_all))
