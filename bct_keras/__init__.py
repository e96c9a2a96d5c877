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
            with _no_standard_error():
                execute(module)

        spec.loader.exec_module = execute_quietly
        return spec


if "tensorflow" not in sys.modules:
    sys.meta_path.insert(0, _QuietTensorFlow())
