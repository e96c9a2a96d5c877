"""Measures how close a file is to the encoder that it was written from."""

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
    random = np.random.default_rng(0)
    images = random.integers(0, 256, shape, np.uint8)
    found = load_encoder(path).embed(images)  # [images, dims]
    expected = reference.embed(images)
    _, dims = found.shape
    if dims < expected.shape[1]:  # the file gives the first coordinates
        first = expected[:, :dims]
        expected = first / np.linalg.norm(first, axis=1, keepdims=True)
    differences = np.abs(found - expected)
    cosines = np.sum(found * expected, axis=1)
    return Closeness(
        difference=float(np.max(differences)),
        cosine=float(np.min(cosines)),
    )
