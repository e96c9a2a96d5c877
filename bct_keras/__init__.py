"""Backward-compatible training of embedding encoders in Keras 3 on TensorFlow."""

import contextlib
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
# The allocator that TensorFlow has for GPUs, for CPUs too. glibc asks the system for every large block anew: a page
# fault for each 4 KiB, 150,000 and half of the time in a step of a sampled head over 500,000 classes. It may use all
# memory there is, where TensorFlow would stop it at 64 GiB.
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
_MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
os.environ.setdefault("TF_CPU_BFC_MEM_LIMIT_IN_MB", str(_MEMORY >> 20))


@contextlib.contextmanager
def no_standard_error() -> Iterator[None]:
    """For what libraries write there of their own working, past Python; what fails they raise."""
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


class _QuietTensorFlow(importlib.abc.MetaPathFinder):
    """Silences TensorFlow's first import: it writes of missing CUDA libraries before it has read its log level.

    It is not imported here: that takes seconds, and `prepare` and its processes do without it.
    """

    def find_spec(self, fullname, path, target=None):
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("tensorflow")
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_quietly(module) -> None:
            with no_standard_error():
                execute(module)

        spec.loader.exec_module = execute_quietly
        return spec


if "tensorflow" not in sys.modules:
    sys.meta_path.insert(0, _QuietTensorFlow())
