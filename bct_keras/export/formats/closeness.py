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
    """Compares each output of a file with that of its encoder over random images."""
    file = load_encoder(path)
    found = [closeness(reference, file)]
    if reference.compatible is not reference:
        found.append(closeness(reference.compatible, file.compatible))
    return Closeness(
        difference=float(np.max([each.difference for each in found])),  # NaN counts as the largest
        cosine=float(np.min([each.cosine for each in found])),
    )


def closeness(reference: Encoder, file: Encoder) -> Closeness:
    """Compares one output of a file with that of its encoder over random images."""
    shape = (COMPARED_IMAGES, reference.image_size, reference.image_size, 3)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, shape, np.uint8)
    found = file.embed(images)  # [images, dims]
    expected = reference.embed(images)
    differences = np.abs(found - expected)
    cosines = np.sum(found * expected, axis=1)
    return Closeness(
        difference=float(np.max(differences)),
        cosine=float(np.min(cosines)),
    )
