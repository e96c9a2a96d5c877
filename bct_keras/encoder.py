"""What every encoder can do, whatever it is made of."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf

from bct_keras import artefacts
from bct_keras.data import dataset, unreadable
from bct_keras.errors import InputError

BATCH_SIZE = 256


class Encoder(ABC):
    """Images of 0..255 in, embeddings of any norm out."""

    def __init__(self, path: Path, image_size: int, dims: int):
        self.path = path
        self.image_size = image_size
        self.dims = dims
        self.compatible_dims = dims  # the first coordinates, which an old gallery is searched with

    @abstractmethod
    def embed(self, images: np.ndarray) -> np.ndarray:
        """[batch, size, size, 3] uint8 -> [batch, dims] float32"""

    @cached_property
    def fingerprint(self) -> str:
        if self.path.is_file():
            return artefacts.file_sha256(self.path)
        files = sorted(file for file in self.path.rglob("*") if file.is_file())
        names = [file.relative_to(self.path).as_posix() for file in files]
        return artefacts.fingerprint([names, [artefacts.file_sha256(file) for file in files]])

    def embed_data(self, data: dataset.DataSet, shards: tuple[dataset.Shard, ...] | None = None):
        """Yields (embeddings, batch) over the records in stored order."""
        for batch in self.images_of(data, shards):
            try:
                embeddings = self.embed(batch["image"].numpy())
            except (ValueError, TypeError, RuntimeError, tf.errors.OpError) as error:
                images = f"{len(batch['label'])} images of {self.image_size} pixels"
                raise InputError(f"{self.path} cannot embed {images}: {first_sentence(error)}") from None
            yield self.checked(embeddings, batch), batch

    def checked(self, embeddings: np.ndarray, batch) -> np.ndarray:
        if not np.isfinite(embeddings).all():
            bad = int(np.flatnonzero(~np.isfinite(embeddings).all(1))[0])
            raise InputError(f"{self.path} gives no finite embedding for image {dataset.ids_of(batch)[bad]}")
        return embeddings

    def images_of(self, data: dataset.DataSet, shards: tuple[dataset.Shard, ...] | None = None) -> Iterator[dict]:
        """The batches of a data set, at the size that this encoder takes."""
        same_size = data.same_size and data.image_size == self.image_size
        with unreadable.named(data, shards):
            yield from replace(data, image_size=self.image_size, same_size=same_size).batches(BATCH_SIZE, shards)


def in_batches(run: Callable[[np.ndarray], np.ndarray], images: np.ndarray, size: int) -> np.ndarray:
    """For a file made for batches of one size: the last one is filled up with copies. 0 is any size."""
    if not size:
        return run(images)
    found = [
        run(images[np.minimum(np.arange(first, first + size), len(images) - 1)])
        for first in range(0, len(images), size)
    ]
    return np.concatenate([rows.copy() for rows in found])[: len(images)]


def checked_shapes(path: Path, image_shape, embedding_shape) -> tuple[int, int]:
    """[batch, size, size, 3] and [batch, dims], or an error."""
    try:
        _, height, width, channels = (int(side or -1) for side in image_shape)
        _, dims = (int(side or -1) for side in embedding_shape)
    except (TypeError, ValueError):
        height = width = channels = dims = -1
    if height != width or height < 1 or channels != 3 or dims < 1:
        raise InputError(f"{path} is no encoder of square colour images: {image_shape} in, {embedding_shape} out")
    return height, dims


def first_sentence(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0]
