"""A data set on disk: a manifest and TFRecord shards.

Embedding shards and every other user read it from here.
"""

import itertools
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras import _tensorflow, artefacts, progress, stores
from bct_keras.artefacts.tables import TableError
from bct_keras.data import images
from bct_keras.data.around import TEST
from bct_keras.data.image_header import MAXIMUM_PIXELS
from bct_keras.data.records import KIND, NAMES
from bct_keras.data.shard_list import Shards, shards_of
from bct_keras.data.shards import Shard, here
from bct_keras.errors import InputError, option
from bct_keras.untrusted.json_files import field, read_object

RECORD_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "id": tf.io.FixedLenFeature([], tf.string),
}


@dataclass(frozen=True)
class DataSet:
    """A data set, or a view of one, that has been opened."""

    folder: Path
    shards: Shards
    classes: int
    first_identity: int  # stored labels count over the whole set, those of a view from 0
    image_size: int
    same_size: bool  # every image already has image_size; nothing is to be resized
    resize: str = "bilinear"  # the filter, of images.FILTERS
    # No image has an Exif orientation; False also where that was not looked at.
    upright: bool = False
    names: Path | None = None  # the file of what people call the identities, where they do

    @property
    def records(self) -> int:
        """The number of images."""
        return self.shards.records

    @cached_property
    def fingerprint(self) -> str:
        """The name of its content: shards, identities and size."""
        return self.shards.fingerprint(self.classes, self.first_identity, self.image_size)

    @cached_property
    def identity_names(self) -> list[str] | None:
        """Returns what people call the identities, by label; None where they have no names."""
        if self.names is None:
            return None
        names = field(read_object(self.names), "names", list, self.names)
        end = self.first_identity + self.classes
        if len(names) < end or not all(isinstance(name, str) for name in names):
            raise InputError(
                f"{self.names} does not name {end:,} identities; remove {self.folder} and run "
                "prepare again"
            )
        return names[self.first_identity : end]

    def files(self, shards: Sequence[Shard] | None = None) -> list[str]:
        """Returns the shards' files on this machine; those of a store are fetched."""
        return here(shards or self.shards)

    def check_content(self) -> None:
        """Reads every shard whole; the sizes were checked on opening."""
        # Hashing leaves Python's lock, so two threads use two cores.
        with ThreadPoolExecutor(2) as pool:
            checks = pool.map(Shard.check_content, self.shards)
            for _ in progress.track(checks, f"checking {self.folder}", len(self.shards), "shards"):
                pass

    def as_taken(self, image_size: int, resize: str) -> "DataSet":
        """Returns the same data set, its images read at an encoder's size and by its filter."""
        same_size = self.same_size and self.image_size == image_size
        return replace(self, image_size=image_size, same_size=same_size, resize=resize)

    def parse(
        self, serialized: tf.Tensor, fields: Collection[str] = ("image", "label", "id")
    ) -> dict[str, tf.Tensor]:
        """Returns [batch] records as stored: image bytes, labels from 0, and ids.

        Args:
            serialized: [batch] strings, each a record of a shard.
            fields: Which of the three are asked for; labels are always among them.
        """
        features = {field: RECORD_FEATURES[field] for field in fields}
        record: Any = tf.io.parse_example(serialized, features)
        return {**record, "label": record["label"] - self.first_identity}

    def checked_labels(self, batches: Iterable[np.ndarray], records: int = 0) -> np.ndarray:
        """Returns the labels of all batches, [records].

        Raises where the shards hold others than the manifest says.

        Args:
            batches: Labels.
            records: How many there have to be; 0 is those of all shards.
        """
        labels = joined(batches)
        complete = len(labels) == (records or self.records)
        if not complete or labels.min() < 0 or labels.max() >= self.classes:
            check = option("check", self.folder)
            raise InputError(
                f"{self.folder}: its shards do not hold {self.records:,} images of the identities "
                f"0 to {self.classes - 1:,}, as its {artefacts.MANIFEST} says; prepare {check} "
                "tells more"
            )
        return labels

    def decode(self, image_bytes: tf.Tensor) -> tf.Tensor:
        """Returns the pixels of one image, [size, size, 3] uint8."""
        return images.decode(
            image_bytes,
            self.image_size,
            resize=not self.same_size,
            filter=self.resize,
            upright=self.upright,
        )

    @_tensorflow.as_it_stands
    def batches(self, batch_size: int, shards: Sequence[Shard] | None = None) -> tf.data.Dataset:
        """Returns every record once, in stored order.

        A batch is {"image": [batch, size, size, 3] uint8, "label": [batch], "id": [batch]}.
        """
        paths = self.files(shards)
        return (
            tf.data.TFRecordDataset(paths)
            .batch(batch_size)
            .map(self._decoded, num_parallel_calls=tf.data.AUTOTUNE)
            .prefetch(tf.data.AUTOTUNE)
        )

    def _decoded(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        record = self.parse(serialized)
        pixels = tf.map_fn(self.decode, record["image"], fn_output_signature=tf.uint8)
        return {**record, "image": pixels}


def open_data_set(folder: str | Path) -> DataSet:
    """Opens a data set, all of whose shards have to be there."""
    folder = stores.place(folder)
    manifest = artefacts.read_manifest(folder, KIND)
    path = folder / artefacts.MANIFEST
    try:
        data = DataSet(
            folder=artefacts.named(folder),
            shards=shards_of(folder, manifest),
            classes=field(manifest, "classes", int, path),
            first_identity=field(manifest, "first_identity", int, path),
            image_size=field(manifest, "image_size", int, path),
            same_size=field(manifest, "same_size", bool, path),
            upright=field({"upright": False} | manifest, "upright", bool, path),
            names=names_of(folder, manifest),
        )
    except TableError:
        raise
    except InputError as error:
        raise InputError(f"{error}; remove {folder} and run prepare again") from None
    data.shards.check_sizes()
    check_claims(data, path)
    return data


def names_of(folder: Path, manifest: dict[str, Any]) -> Path | None:
    """Returns the file of the identities' names, which lies beside the whole set's manifest."""
    where = folder / artefacts.MANIFEST
    stated = field({"names": ""} | manifest, "names", str, where)
    if not stated:
        return None
    if stated not in (NAMES, f"../{NAMES}"):
        raise InputError(f"{where} says that names are in {stated!r}, where they cannot be")
    return artefacts.named(folder) / stated


def check_claims(data: DataSet, path: Path) -> None:
    """Raises where a manifest claims what cannot be.

    Each identity has an image, so the claims are bounded by the bytes that are there.
    """
    if not 0 < data.classes <= data.records or not 0 < data.image_size**2 <= MAXIMUM_PIXELS:
        raise InputError(
            f"{path} says {data.classes:,} identities, {data.records:,} images and "
            f"{data.image_size} pixels a side, which cannot be; remove {path.parent} and run "
            "prepare again"
        )


def joined(batches: Iterable[np.ndarray]) -> np.ndarray:
    """Returns the labels of all batches as one; of a million some are joined at a time."""
    left = iter(batches)
    labels = [np.empty(0, np.int64)]
    while some := list(itertools.islice(left, 4096)):
        labels.append(np.concatenate(some))
    return np.concatenate(labels)


def open_to_train_on(folder: str | Path) -> DataSet:
    """Opens a view, or a data set that holds no identities out."""
    folder = stores.place(folder)
    if (folder / TEST / artefacts.MANIFEST).is_file():
        raise InputError(
            f"{folder} holds the test's identities too, which no encoder may see; train on "
            f"{folder / 'all'}, or on {folder / 'new'}, without the old encoder's"
        )
    return open_data_set(folder)


def ids_of(batch: dict[str, tf.Tensor]) -> list[str]:
    """Returns the ids of a batch as texts.

    They are read as `shards.parsed` does, whatever bytes a shard of others has there.
    """
    names = []
    for name in np.asarray(batch["id"]):
        names.append(name.decode("utf-8", "backslashreplace"))
    return names
