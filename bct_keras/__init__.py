"""Backward-compatible training of embedding encoders in Keras 3 on TensorFlow."""

import contextlib
import ctypes
import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Iterator

__version__ = "0.1.0"

# Keras picks its backend once, at its first import; everything here needs TensorFlow's.
os.environ["KERAS_BACKEND"] = "tensorflow"
# TensorFlow's own log tells of CPU instructions and missing GPUs; what matters it raises as well.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# mallopt's M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, in bytes and no more than an int holds, and M_ARENA_MAX
_GLIBC_SETTINGS = {-3: 1 << 30, -1: (1 << 31) - 1, -8: 1}


@contextlib.contextmanager
def _no_standard_error() -> Iterator[None]:
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _keep_large_blocks() -> None:
    """Lets glibc reuse large blocks of memory, where it would ask the system for those of each step anew.

    That costs a page fault for every 4 KiB: 150,000, and half of the time, in a step of a sampled head over 500,000
    classes. One arena, as the others cannot hold a large tensor. The user's own MALLOC_ variables come first.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's alone
    if mallopt is None or any(name.startswith("MALLOC_") for name in os.environ):
        return
    for setting, value in _GLIBC_SETTINGS.items():
        mallopt(setting, value)


class _FirstTensorFlow(importlib.abc.MetaPathFinder):
    """Readies the process for TensorFlow at its first import, and silences that.

    TensorFlow writes of missing CUDA libraries before it has read its log level. It is not imported here: that takes
    seconds, and `prepare` and its processes do without it.
    """

    def find_spec(self, fullname, path, target=None):
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        _keep_large_blocks()  # before a thread of TensorFlow's has an arena of its own
        spec = importlib.util.find_spec("tensorflow")
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_quietly(module) -> None:
            with _no_standard_error():
                execute(module)

        spec.loader.exec_module = execute_quietly
        return spec


if "tensorflow" not in sys.modules:
    sys.meta_path.insert(0, _FirstTensorFlow())
