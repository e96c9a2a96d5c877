"""Checks what is to be entries of a gallery, and gives embeddings length 1."""

import numpy as np

from bct_keras.errors import InputError
from bct_keras.gallery import vectors
from bct_keras.gallery.facts import KnownEncoder, check_name


def checked(
    encoder: KnownEncoder, ids: list[str], labels: list[str], embeddings: np.ndarray
) -> np.ndarray:
    """Returns the embeddings at length 1."""
    units = vectors.unit(embeddings)
    if not len(ids) == len(labels) == len(units):
        raise InputError(
            f"{len(ids)} ids, {len(labels)} labels and {len(units)} embeddings; each entry has one"
        )
    if units.shape[1] != encoder.dims:
        raise InputError(
            f"{encoder} gives {encoder.dims} dimensions; these embeddings have {units.shape[1]}"
        )
    for name in (*ids, *labels):
        check_name(name)
    return units


def moved_units(moved: KnownEncoder, embeddings: np.ndarray) -> np.ndarray:
    """Returns what an adapter gives at length 1; raises where it cannot be entries."""
    units = vectors.unit(embeddings)
    if units.shape[1] != moved.dims:
        raise InputError(
            f"{moved} is known to give {moved.dims} dimensions and has given {units.shape[1]}"
        )
    return units
