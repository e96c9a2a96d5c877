"""Backward-compatible training of embedding encoders in Keras 3 on TensorFlow."""

import os

__version__ = "0.1.0"

# Keras picks its backend once, at its first import; everything here needs TensorFlow's.
os.environ["KERAS_BACKEND"] = "tensorflow"
# TensorFlow's own log tells of CPU instructions and missing GPUs; what matters it raises as well.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _import_tensorflow_quietly() -> None:
    """It writes of missing CUDA libraries before it has read its log level."""
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


_import_tensorflow_quietly()
