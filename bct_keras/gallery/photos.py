"""Reads the photos that a gallery is searched by, and shows what was found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    far: float | None = None  # the share of false accepts up to which an entry is a match

    def __str__(self) -> str:
        return as_text(self)

    def facts(self) -> dict[str, Any]:
        """Returns what was found, as JSON has it."""
        matches = []
        for match in self.matches:
            facts: dict[str, Any] = {
                "id": match.id,
                "label": match.label,
                "encoder": match.encoder,
                "cosine": match.score,
                "false_accepts": match.rate,
            }
            if self.far is not None:
                facts["word"] = match.word(self.far)
            matches.append(facts)
        return {"query": self.photo, "far": self.far, "matches": matches}


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


def as_text(found: Found) -> str:
    """Returns the table of what a search found, for people."""
    rows = rows_of(found)
    *padded_columns, _ = zip(*rows, strict=True)  # the last one, the id, is not padded
    widths = [max(len(cell) for cell in column) for column in padded_columns]
    lines = [line(found.photo)]
    for *cells, last in rows:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        lines.append("  ".join([*padded, last]))
    return "\n  ".join(lines)


def rows_of(found: Found) -> list[list[str]]:
    """Returns the rows of the table, its head first."""
    # What a score stands for, where that is known; a cosine tells nobody how rare it is.
    rates = [match.rate for match in found.matches]
    are_rates = bool(rates) and None not in rates
    head = ["false accepts" if are_rates else "score", "label", "encoder", "id"]
    rows = []
    for match in found.matches:
        score = f"{match.rate:.1e}" if are_rates else f"{match.score:.4f}"
        rows.append([score, line(match.label), line(match.encoder[:12]), line(match.id)])
    if found.far is not None:
        head.insert(0, f"at {found.far:g}")
        for row, match in zip(rows, found.matches, strict=True):
            row.insert(0, match.word(found.far))
    return [head, *rows]
