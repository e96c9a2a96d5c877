"""Reads the photos that a gallery is searched by, and shows what was found."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from bct_keras.data import images, unreadable
from bct_keras.encoders import Encoder, load_encoder
from bct_keras.errors import BadImageError, InputError, option
from bct_keras.gallery.entries import fitted
from bct_keras.gallery.facts import Match
from bct_keras.gallery.gallery import Gallery
from bct_keras.printable import line


@dataclass(frozen=True)
class Found:
    """What a search by one photo finds."""

    photo: str
    matches: list[Match]  # the best first

    def __str__(self) -> str:
        return as_text(self.photo, self.matches)


def photo_encoder(gallery: Gallery, path: str | Path) -> Encoder:
    """Loads an encoder that has to embed images; stored embeddings are refused."""
    encoder = load_encoder(path)
    if not encoder.image_size:
        raise InputError(
            f"{encoder.path} holds stored embeddings; {option('encoder')} has to be one that "
            "embeds images"
        )
    return fitted(encoder, gallery)


def pixels_of(path: str, photo: bytes, size: int, resize: str = "bilinear") -> np.ndarray:
    """Returns the pixels [size, size, 3] of a photo that Pillow has decoded.

    TensorFlow refuses some of these all the same.
    """
    try:
        return images.decode(tf.constant(photo), size, True, resize).numpy()
    except unreadable.FAILURES as error:
        raise BadImageError(
            f"{path}: the image cannot be decoded ({unreadable.reason(error)})"
        ) from None


def as_text(photo: str, matches: list[Match]) -> str:
    """Returns the table of what a search found, for people."""
    # What a score stands for, where that is known; a cosine tells nobody how rare it is.
    are_rates = bool(matches) and all(match.rate is not None for match in matches)
    rows = [("false accepts" if are_rates else "score", "label", "encoder", "id")]
    for match in matches:
        score = f"{match.rate:.1e}" if are_rates else f"{match.score:.4f}"
        rows.append((score, line(match.label), line(match.encoder[:12]), line(match.id)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [line(photo)]
    for row in rows:
        padded = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)]
        lines.append("  ".join([*padded, row[3]]))
    return "\n  ".join(lines)
