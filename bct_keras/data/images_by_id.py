"""A data set's images by their ids, in any order.

The shards themselves are made to be read from end to end.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from bct_keras import progress
from bct_keras.data import unreadable
from bct_keras.data.dataset import DataSet
from bct_keras.data.shards import Stored, stored_at, stored_records
from bct_keras.errors import BadImageError


class ImagesById:
    """Finds images of a data set by their ids."""

    def __init__(self, data: DataSet, image_size: int, resize: str = "bilinear"):
        self.data = data.as_taken(image_size, resize)
        self.place: dict[str, tuple[Path, int]] = {}
        what = f"reading ids of {data.folder}"
        for shard in progress.track(data.shards, what, unit="shards"):
            path = shard.here
            for stored in whole(path):
                self.place[stored.id] = (path, stored.offset)

    def __contains__(self, ident: object) -> bool:
        return ident in self.place

    def read(self, ids: list[str]) -> np.ndarray:
        """Returns these images, [ids, size, size, 3] uint8."""
        encoded = []
        for ident in ids:
            path, offset = self.place[ident]
            encoded.append(stored_at(path, offset).image)
        images = tf.constant(encoded)
        with unreadable.named(self.data):
            pixels = tf.map_fn(self.data.decode, images, fn_output_signature=tf.uint8)
        return pixels.numpy()


def whole(path: Path) -> Iterator[Stored]:
    """Yields every record; raises where one is damaged."""
    for stored in stored_records(path):
        if isinstance(stored, BadImageError):
            raise stored
        yield stored
