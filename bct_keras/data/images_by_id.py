"""A data set's images by their ids, in any order: its shards are made to be read from end to end."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from bct_keras import progress
from bct_keras.data import unreadable
from bct_keras.data.dataset import DataSet
from bct_keras.data.shards import Shard, Stored, stored_at, stored_records
from bct_keras.errors import BadImageError


class ImagesById:
    """Finds images of a data set by their ids."""

    def __init__(self, data: DataSet, image_size: int, resize: str = "bilinear"):
        self.data = data.as_taken(image_size, resize)
        self.place = {
            stored.id: (shard, stored.offset)
            for shard in progress.track(data.shards, f"reading ids of {data.folder}", unit="shards")
            for stored in whole(shard)
        }

    def __contains__(self, ident: object) -> bool:
        return ident in self.place

    def read(self, ids: list[str]) -> np.ndarray:
        """Returns these images, [ids, size, size, 3] uint8."""
        places = [self.place[ident] for ident in ids]
        encoded = tf.constant([stored_at(shard.path, offset).image for shard, offset in places])
        with unreadable.named(self.data):
            return tf.map_fn(self.data.decode, encoded, fn_output_signature=tf.uint8).numpy()


def whole(shard: Shard) -> Iterator[Stored]:
    """Yields every record; raises where one is damaged."""
    for stored in stored_records(shard.path):
        if isinstance(stored, BadImageError):
            raise stored
        yield stored
