"""How close a file that was written is to the encoder that it was written from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bct_keras.encoders import Encoder, load_encoder

COMPARED_IMAGES = 16


@dataclass(frozen=True)
class Closeness:
    """How close a file's embeddings are to those of its encoder."""

    difference: float  # the largest of any coordinate
    cosine: float  # the smallest


def compared(reference: Encoder, path: Path) -> Closeness:
    """Compares a file with its encoder over random images."""
    shape = (COMPARED_IMAGES, reference.image_size, reference.image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = load_encoder(path).embed(images)
    expected = reference.embed(images)
    if found.shape[1] < expected.shape[1]:
        expected = expected[:, : found.shape[1]]
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    cosines = np.sum(found * expected, axis=1)
    return Closeness(float(np.max(np.abs(found - expected))), float(np.min(cosines)))
