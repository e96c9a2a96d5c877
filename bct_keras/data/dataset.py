"""A data set on disk: a manifest and TFRecord shards. Embedding shards and every other user read it from here."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras import artefacts, progress
from bct_keras.data import images
from bct_keras.errors import InputError

KIND = "data set"
# A view lies in a folder of the data set whose shards it names; a manifest may not point anywhere else.
SHARD_PATH = re.compile(r"(\.\./)?shards/[A-Za-z0-9][A-Za-z0-9._-]*\.tfrecord")

RECORD_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "id": tf.io.FixedLenFeature([], tf.string),
}


@dataclass(frozen=True)
class Shard:
    path: Path
    records: int
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        return self.path.stem

    def check_size(self) -> None:
        if not self.path.is_file():
            raise InputError(f"{self.path}: this shard is missing; remove the data set and run prepare again")
        size = self.path.stat().st_size
        if size != self.bytes:
            raise InputError(
                f"{self.path}: this shard has {size} bytes and its manifest says {self.bytes}: it was cut off or "
                "changed; remove the data set and run prepare again"
            )

    def check_content(self) -> None:
        if artefacts.file_sha256(self.path) != self.sha256:
            raise InputError(
                f"{self.path}: this shard is not what its manifest says (sha256); "
                "remove the data set and run prepare again"
            )


@dataclass(frozen=True)
class DataSet:
    folder: Path
    shards: tuple[Shard, ...]
    classes: int
    first_identity: int  # stored labels count over the whole set, those of a view from 0
    image_size: int
    same_size: bool  # every image already has image_size; nothing is to be resized

    @property
    def records(self) -> int:
        return sum(shard.records for shard in self.shards)

    @cached_property
    def fingerprint(self) -> str:
        shards = [shard.sha256 for shard in self.shards]
        return artefacts.fingerprint([shards, self.classes, self.first_identity, self.image_size])

    def check_content(self) -> None:
        """Reads every shard whole; the sizes were checked on opening."""
        # Hashing leaves Python's lock, so two threads use two cores.
        with ThreadPoolExecutor(2) as pool:
            checks = pool.map(Shard.check_content, self.shards)
            for _ in progress.track(checks, f"checking {self.folder}", len(self.shards), "shards"):
                pass

    def parse(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        """[batch] records as stored -> their image bytes, labels from 0, and ids."""
        record: Any = tf.io.parse_example(serialized, RECORD_FEATURES)
        return {**record, "label": record["label"] - self.first_identity}

    def decode(self, image_bytes: tf.Tensor) -> tf.Tensor:
        return images.decode(image_bytes, self.image_size, resize=not self.same_size)

    def batches(self, batch_size: int, shards: tuple[Shard, ...] | None = None) -> tf.data.Dataset:
        """Every record once, in stored order: {"image": [batch, size, size, 3] uint8, "label", "id"}."""
        paths = [str(shard.path) for shard in shards or self.shards]
        return (
            tf.data.TFRecordDataset(paths)
            .batch(batch_size)
            .map(self._decoded, num_parallel_calls=tf.data.AUTOTUNE)
            .prefetch(tf.data.AUTOTUNE)
        )

    def _decoded(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        record = self.parse(serialized)
        return {**record, "image": tf.map_fn(self.decode, record["image"], fn_output_signature=tf.uint8)}


def encode_record(image: bytes, label: int, name: str) -> bytes:
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        "id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[name.encode()])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


def open_data_set(folder: str | Path) -> DataSet:
    folder = Path(folder)
    manifest = artefacts.read_manifest(folder, KIND)
    try:
        shards = tuple(shard_of(folder, entry) for entry in manifest["shards"])
        data = DataSet(
            folder,
            shards,
            int(manifest["classes"]),
            int(manifest["first_identity"]),
            int(manifest["image_size"]),
            bool(manifest["same_size"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder / artefacts.MANIFEST} is not complete: {error!r}; remove it and run prepare again"
        ) from None
    for shard in shards:
        shard.check_size()
    return data


def shard_of(folder: Path, entry: dict[str, Any]) -> Shard:
    if not SHARD_PATH.fullmatch(entry["path"]):
        raise InputError(f"{folder / artefacts.MANIFEST} names a shard outside the data set: {entry['path']!r}")
    return Shard(folder / entry["path"], int(entry["records"]), int(entry["bytes"]), str(entry["sha256"]))


def ids_of(batch: dict[str, tf.Tensor]) -> list[str]:
    return [name.decode() for name in np.asarray(batch["id"])]
