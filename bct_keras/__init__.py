"""Backward-compatible training of embedding encoders in Keras 3 on TensorFlow."""

import os

# Keras picks its backend once, at its first import; everything here needs TensorFlow's.
os.environ["KERAS_BACKEND"] = "tensorflow"
# TensorFlow's start-up notes on CPU instructions and missing GPUs say nothing a user can act on.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

__version__ = "0.1.0"
