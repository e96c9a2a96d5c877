"""A data set's images by their ids, in any order: its shards are made to be read from end to end."""

import os
import struct
from dataclasses import replace

import numpy as np
import tensorflow as tf

from bct_keras import progress
from bct_keras.data import dataset
from bct_keras.data.dataset import DataSet, Shard
from bct_keras.errors import InputError

AT_ONCE = 1024
# A record lies in a TFRecord file as its length (8 bytes), a checksum of that (4), itself, and its checksum (4).
LENGTH = struct.Struct("<Q4x")
AFTER_RECORD = 4


class ImagesById:
    def __init__(self, data: DataSet, image_size: int):
        self.data = replace(data, image_size=image_size, same_size=data.same_size and data.image_size == image_size)
        self.place: dict[str, tuple[int, int, int]] = {}  # shard, first byte, bytes
        for number, shard in enumerate(progress.track(data.shards, f"reading ids of {data.folder}", unit="shards")):
            for ident, extent in zip(ids_of_shard(data, shard), extents(shard), strict=True):
                self.place[ident] = (number, *extent)

    def __contains__(self, ident: object) -> bool:
        return ident in self.place

    def read(self, ids: list[str]) -> np.ndarray:
        """[ids, size, size, 3] uint8"""
        records = [self._record(*self.place[ident]) for ident in ids]
        encoded = self.data.parse(tf.constant(records))["image"]
        return tf.map_fn(self.data.decode, encoded, fn_output_signature=tf.uint8).numpy()

    def _record(self, shard: int, first: int, length: int) -> bytes:
        with self.data.shards[shard].path.open("rb") as file:
            return os.pread(file.fileno(), length, first)


def ids_of_shard(data: DataSet, shard: Shard) -> list[str]:
    found: list[str] = []
    for records in tf.data.TFRecordDataset([str(shard.path)]).batch(AT_ONCE):
        found += dataset.ids_of(data.parse(records))
    return found


def extents(shard: Shard) -> list[tuple[int, int]]:
    """The first byte and the length of each record."""
    found, position = [], 0
    with shard.path.open("rb") as file:
        while head := os.pread(file.fileno(), LENGTH.size, position):
            length = LENGTH.unpack(head)[0] if len(head) == LENGTH.size else shard.bytes
            position += LENGTH.size
            if position + length + AFTER_RECORD > shard.bytes:
                raise InputError(f"{shard.path}: the record at byte {position} was cut off; run prepare again")
            found.append((position, length))
            position += length + AFTER_RECORD
    return found
