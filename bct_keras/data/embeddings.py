"""Embedding shards: beside each image shard one .npy file per field, in the order of its records.

Fields: `old_embedding` [records, dims] float32 as the encoder gave it, and `label` [records] int64.
Earlier versions wrote which are credible there too; now it is kept apart (`embed/credible.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras import artefacts, stores
from bct_keras.artefacts.tables import TableError
from bct_keras.data.dataset import DataSet, Shard
from bct_keras.data.embedding_files import FIELDS as FIELDS
from bct_keras.data.embedding_files import KIND as KIND
from bct_keras.data.embedding_files import files_of
from bct_keras.errors import InputError
from bct_keras.untrusted import json_files
from bct_keras.untrusted.arrays import open_array, open_known
from bct_keras.vectors import normalised as normalised  # used with embeddings everywhere

ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class EmbeddingShards:
    """Embedding shards that have been opened, beside their data set."""

    folder: Path
    data: DataSet
    dims: int
    fingerprint: str
    # Files of further fields, each with a row for each record of all shards in their order.
    of_all: dict[str, Path] = dataclass_field(default_factory=dict)

    def rows(self, field: str, number: int) -> np.ndarray:
        """Returns a field's rows of one shard, which stay on the disk."""
        if field in self.of_all:
            first, last = self.ends[number], self.ends[number + 1]
            return open_array(stores.here(self.of_all[field]))[first:last]
        return open_array(stores.here(field_path(self.folder, self.data.shards[number], field)))

    @cached_property
    def ends(self) -> np.ndarray:
        """Returns where each shard begins among all records, and how many these are."""
        return np.concatenate([[0], np.cumsum(self.data.shards.rows["records"])])

    def stream(self, field: str, shard_number: tf.Tensor) -> tf.data.Dataset:
        """Returns a field's rows of one shard of the data.

        The shard's number may be known only while the pipeline runs.
        """
        first = self.rows(field, 0)  # all files of a field have rows of one kind
        dtype = first.dtype
        shape = first.shape[1:]
        row_bytes = dtype.itemsize * int(np.prod(shape))
        files, skipped, left = self.places(field, row_bytes)
        encoded = tf.data.FixedLengthRecordDataset(
            tf.gather(files, shard_number),
            record_bytes=row_bytes,
            header_bytes=tf.gather(tf.constant(skipped, tf.int64), shard_number),
            footer_bytes=tf.gather(tf.constant(left, tf.int64), shard_number),
        )

        def numbers(block: tf.Tensor) -> tf.Tensor:
            flat = tf.io.decode_raw(block, tf.as_dtype(dtype))
            return tf.reshape(flat, (-1, *shape))

        # Many at once: a function called for each row takes half as long as decoding an image.
        return encoded.batch(ROWS_AT_ONCE).map(numbers).unbatch()

    def places(self, field: str, row_bytes: int) -> tuple[list[str], Any, Any]:
        """Returns the file of each shard, and how many bytes lie before its rows and after them."""
        if field in self.of_all:
            path = stores.here(self.of_all[field])
            size = path.stat().st_size
            header = size - open_array(path).nbytes
            ends = header + self.ends * row_bytes
            return [str(path)] * len(self.data.shards), ends[:-1], size - ends[1:]
        files, headers = [], []
        for path in FieldFiles(self.folder, self.data, field):
            here = stores.here(path)  # one open file at a time: a process may not have thousands
            files.append(str(here))
            headers.append(here.stat().st_size - open_array(here).nbytes)
        return files, headers, [0] * len(files)


def open_embeddings(folder: str | Path, data: DataSet) -> EmbeddingShards:
    """Opens the embedding shards of a data set; raises where they are another's, or not whole."""
    folder = stores.place(folder)
    manifest = artefacts.read_manifest(folder, KIND)
    if manifest["made_from"].get("data") != data.fingerprint:
        raise InputError(
            f"{folder} holds embeddings of another data set ({manifest.get('data_folder')}), not "
            f"of {data.folder}; run embed on it"
        )
    where = folder / artefacts.MANIFEST
    try:
        dims = json_files.field(manifest, "dims", int, where)
        files = files_of(folder, manifest, data.shards)

        def check(found: tuple[Shard, dict[str, str]]) -> None:
            shard, digests = found
            check_shard(folder, shard, dims, digests)

        for _ in stores.mapped(folder, check, zip(data.shards, files, strict=True)):
            pass
    except TableError:
        raise
    except InputError as error:
        raise InputError(f"{error}; {again(folder)}") from None
    return EmbeddingShards(
        folder=artefacts.named(folder),
        data=data,
        dims=dims,
        fingerprint=files.fingerprint(),
    )


def check_shard(folder: Path, shard: Shard, dims: int, digests: dict[str, str]) -> None:
    """Raises where a field's file is not the manifest's, or does not have a row for each record."""
    for field in FIELDS:
        path = field_path(folder, shard, field)
        stored = None
        if stores.size_of(path) is not None:
            stored = open_known(path, digests[field])
        if stored is None:
            raise InputError(f"{path}: this embedding shard is missing or was changed")
        shape: tuple[int, ...] = (shard.records,)
        if field == "old_embedding":
            shape = (shard.records, dims)
        dtype = np.dtype(np.int64 if field == "label" else np.float32)
        as_expected = stored.dtype == dtype and stored.shape == shape
        if not as_expected or not stored.flags.c_contiguous:
            raise InputError(
                f"{path}: {dtype} {list(shape)} was expected, not {stored.dtype} "
                f"{list(stored.shape)}"
            )


def again(folder: Path) -> str:
    """Says what to do about embedding shards that are damaged.

    They have to be removed: what is left of them would be taken as up to date.
    """
    return f"remove {folder} and run embed again"


def field_path(folder: Path, shard: Shard, field: str) -> Path:
    """Returns the file of a field of a shard."""
    return folder / f"{shard.name}.{field}.npy"


@dataclass(frozen=True)
class FieldFiles:
    """The files of a field, in the order of the shards; gone through as often as is wanted.

    Each path is made when its turn comes: those of a million shards take much memory.
    """

    folder: Path
    data: DataSet
    field: str

    def __iter__(self) -> Iterator[Path]:
        for name in self.data.shards.each_name():
            yield self.folder / f"{name}.{self.field}.npy"
