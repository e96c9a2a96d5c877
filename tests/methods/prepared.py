"""Prepares a method on stored old embeddings, for the tests here."""

from typing import Any

import numpy as np

from bct_keras.methods.method import Training

DIMS, EPOCHS, CLASSES = 8, 4, 6
TRAINING = Training(classes=CLASSES, compatible_dims=DIMS, epochs=EPOCHS, steps=40)


def ready(method: Any, stored: Any) -> Any:
    """Returns the method, prepared and built."""
    method.prepare(stored, TRAINING)
    method.build((None, DIMS))
    return method


def unit(embeddings: np.ndarray) -> np.ndarray:
    """Returns the embeddings at length 1."""
    return embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)


def class_means(old: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns BCT's prototypes by a plain loop."""
    return unit(np.stack([old[labels == label].mean(0) for label in range(CLASSES)]))


def random_new(rows: int) -> np.ndarray:
    """Returns new embeddings that have nothing to do with the old ones."""
    return np.random.default_rng(3).normal(size=(rows, DIMS)).astype(np.float32)
