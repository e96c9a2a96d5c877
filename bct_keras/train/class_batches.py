"""Batches of some identities with some images of each, as contrastive methods want them.

Shards hold the records in random order, so an index says where the records of each identity lie: 20
bytes a record, in memory. A batch is a function of the seed and its step alone.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import tensorflow as tf

from bct_keras import progress, specs
from bct_keras.data.dataset import DataSet
from bct_keras.data.embeddings import EmbeddingShards
from bct_keras.data.records import CHECKSUM
from bct_keras.data.shards import FRAME_START, stored_records
from bct_keras.errors import BadImageError, InputError, option

OF_IDENTITIES, OF_IMAGES = 1, 2  # what a random order is of
ARRAYS_OPEN = 256


@dataclass(frozen=True)
class Random:
    """Batches of images in random order, each once an epoch."""

    def check(self, batch_size: int, classes: int = 0) -> None:
        """Does nothing: they may have any size."""


@dataclass(frozen=True)
class Classes:
    """Batches of so many identities (0: as many as make up the batch) with so many images each."""

    identities: int = 0
    images: int = 4

    def identities_in(self, batch_size: int) -> int:
        """Returns how many identities a batch of this size has."""
        return self.identities or max(batch_size // self.images, 1)

    def check(self, batch_size: int, classes: int = 0) -> None:
        """Raises where that does not make a batch of this size.

        Args:
            batch_size: The images of a batch.
            classes: The identities that there are; 0 is not known.
        """
        said = option("batch", f"classes({self.identities or 'P'}, images={self.images})")
        if self.images < 1 or self.identities < 0:
            raise InputError(f"{said}: at least one image and one identity are needed")
        identities = self.identities_in(batch_size)
        if identities * self.images != batch_size:
            size = option("batch_size", batch_size)
            of_this_size = option("batch_size", identities * self.images)
            raise InputError(f"{said} makes no batch of {size}; give {of_this_size}")
        if classes and identities > classes:
            raise InputError(
                f"{said} needs {identities:,} identities for a batch, and the data set has "
                f"{classes:,}; give fewer of them, and as many more images of each"
            )


BATCHES: dict[str, type] = {"random": Random, "classes": Classes}


def batches_of(spec: str) -> Random | Classes:
    """Returns how batches are made, as `--batch` says it."""
    name = specs.parse(spec).name
    if ":" in name:  # as a class of the user's own is called elsewhere
        raise InputError(
            f"{option('batch', spec)}: batches are made by {' or '.join(BATCHES)} alone, and by no "
            "class of your own",
            f"Give {option('batch')}=random or {option('batch')}='classes(16, images=4)'; a method "
            "of your own may weigh the images of a batch",
        )
    return specs.build(BATCHES, spec)


@dataclass(frozen=True)
class ClassBatches:
    """The batches of a data set, by identities.

    1. Identities come in a random order, and in another one when all have been there; those that
       are left over when the last batch is full have another chance in the next order.
    2. Each brings its next images, in a random order of its own. Where too few are left for another
       visit, a new order begins; one with fewer images than are asked for brings some twice.

    All identities are met equally often, however many images they have.
    """

    data: DataSet
    identities: int  # of a batch
    images: int  # of each
    seed: int
    old: EmbeddingShards | None = None
    fields: tuple[str, ...] = ()  # of the old embeddings, beside each image

    @cached_property
    def index(self) -> "Index":
        """Tells where the records of each identity lie; the shards are read for it."""
        return indexed(self.data)

    def records_of(self, step: int) -> np.ndarray:
        """Returns the numbers of the records of a step's batch, identity by identity."""
        index = self.index
        per_order = self.data.classes // self.identities  # batches
        visit, place = divmod(step, per_order)
        order = self.order(OF_IDENTITIES, visit, self.data.classes)
        first = place * self.identities
        found = []
        for identity in order[first : first + self.identities].tolist():
            found.append(self.images_of(identity, visit, index.of_identity(identity)))
        return np.concatenate(found)

    def images_of(self, identity: int, visit: int, records: np.ndarray) -> np.ndarray:
        """Returns the next images of an identity that has been visited so often before."""
        visits_whole = max(len(records) // self.images, 1)  # visits until its order begins anew
        turn, place = divmod(visit, visits_whole)
        order = self.order(OF_IMAGES, identity, len(records), turn)
        first = place * self.images
        chosen = np.resize(order[first:], self.images)  # again from the first where there are few
        return records[chosen]

    def order(self, what: int, which: int, count: int, turn: int = 0) -> np.ndarray:
        """Returns the numbers below `count` in a random order."""
        return random_order(self.seed, what, which, turn, count=count)

    def read(self, step: np.ndarray) -> list[np.ndarray]:
        """Returns the serialized records of a step's batch, and their rows of every field."""
        records = self.records_of(int(step))
        rows = [np.array([self.index.serialized(record) for record in records], object)]
        for name in self.fields:
            rows.append(np.stack([self.row(name, record) for record in records]))
        return rows

    def row(self, name: str, record: int) -> np.ndarray:
        """Returns a record's row of a field of the old embeddings."""
        return self.rows(name, int(self.index.shard[record]))[self.index.place[record]]

    @cached_property
    def rows(self) -> Callable[[str, int], np.ndarray]:
        """Returns the function that gives a field's rows of a shard; the newest few stay open."""
        assert self.old
        return lru_cache(maxsize=ARRAYS_OPEN)(self.old.rows)

    def of_epoch(self, epoch: tf.Tensor, steps: int) -> tf.data.Dataset:
        """Returns the batches of an epoch, records not yet decoded with their rows by field."""
        specs = self.specs()

        def batch(step: tf.Tensor) -> dict[str, tf.Tensor]:
            kinds = [spec.dtype for spec in specs.values()]
            rows = tf.numpy_function(self.read, [step], kinds, stateful=False)
            found = {}
            for (name, spec), values in zip(specs.items(), rows, strict=True):
                found[name] = tf.ensure_shape(values, spec.shape)
            return found

        first = epoch * steps
        _ = self.index  # read now, and not within the first batch
        return tf.data.Dataset.range(first, first + steps).map(batch, num_parallel_calls=2)

    def specs(self) -> dict[str, tf.TensorSpec]:
        """Returns what a batch has: the records, and each field."""
        rows = self.identities * self.images
        found = {"record": tf.TensorSpec((rows,), tf.string)}
        for name in self.fields:
            first = self.rows(name, 0)
            found[name] = tf.TensorSpec((rows, *first.shape[1:]), tf.as_dtype(first.dtype))
        return found


@dataclass(frozen=True)
class Index:
    """Where records lie, and which are of which identity."""

    paths: Sequence[str]  # of the shards
    shard: np.ndarray  # [records] the number of the shard of each
    offset: np.ndarray  # [records] the byte at which its frame begins
    place: np.ndarray  # [records] which of the shard's records it is
    by_identity: np.ndarray  # [records] the records' numbers, identity by identity
    first: np.ndarray  # [identities + 1] where those of each begin

    def of_identity(self, identity: int) -> np.ndarray:
        """Returns the records of an identity, in file order."""
        return self.by_identity[self.first[identity] : self.first[identity + 1]]

    def serialized(self, record: int) -> bytes:
        """Returns a record as it is stored, without its frame."""
        shard = int(self.shard[record])
        file = os.open(self.paths[shard], os.O_RDONLY)
        try:
            start = int(self.offset[record])
            length = int.from_bytes(os.pread(file, FRAME_START - CHECKSUM.size, start), "little")
            return os.pread(file, length, start + FRAME_START)
        finally:
            os.close(file)


def indexed(data: DataSet) -> Index:
    """Reads all shards once, and returns where their records lie."""
    shards, offsets, places, labels = [], [], [], []
    reading = progress.track(data.shards, f"finding the identities of {data.folder}", unit="shards")
    for number, shard in enumerate(reading):
        for place, stored in enumerate(stored_records(shard.here)):
            if isinstance(stored, BadImageError):
                raise stored
            shards.append(number)
            offsets.append(stored.offset)
            places.append(place)
            labels.append(stored.label - data.first_identity)
    found = data.checked_labels([np.array(labels, np.int64)])
    counts = np.bincount(found, minlength=data.classes)
    return Index(
        paths=data.files(),
        shard=np.array(shards, np.int32),
        offset=np.array(offsets, np.int64),
        place=np.array(places, np.int32),
        by_identity=np.argsort(found, kind="stable"),
        first=np.concatenate([[0], np.cumsum(counts)]),
    )


@lru_cache(maxsize=1 << 14)
def random_order(*seed: int, count: int) -> np.ndarray:
    """Returns the numbers below `count` in an order set by the seed."""
    return np.random.default_rng(seed).permutation(count)
