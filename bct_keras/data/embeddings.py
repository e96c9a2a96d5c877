"""Embedding shards: beside each image shard one .npy file per field, in the order of its records.

Fields: `old_embedding` [records, dims] float32 as the encoder gave it, `label` [records] int64, and
`credible` [records] float32, 1 where the old embedding lies near its class mean;
`credible_rows_then_columns` is the same by the released code's measure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras import artefacts, stores
from bct_keras.data.dataset import DataSet, Shard
from bct_keras.errors import InputError
from bct_keras.untrusted import json_files
from bct_keras.untrusted.arrays import open_array, open_known
from bct_keras.vectors import normalised as normalised  # used with embeddings everywhere

KIND = "embeddings"
ROWS_AT_ONCE = 256
FIELDS = ("old_embedding", "label", "credible", "credible_rows_then_columns")


@dataclass(frozen=True)
class EmbeddingShards:
    """Embedding shards that have been opened, beside their data set."""

    folder: Path
    data: DataSet
    dims: int
    fingerprint: str

    def stream(self, field: str, shard_number: tf.Tensor) -> tf.data.Dataset:
        """Returns a field's rows of one shard of the data.

        The shard's number may be known only while the pipeline runs.
        """
        paths = [field_path(self.folder, shard, field) for shard in self.data.shards]
        header_bytes = []
        for path in paths:  # one open file at a time: a process may not have thousands
            header_bytes.append(stores.here(path).stat().st_size - open_array(path).nbytes)
        # All files of a field have rows of one kind.
        first = open_array(paths[0])
        dtype = first.dtype
        shape = first.shape[1:]
        encoded = tf.data.FixedLengthRecordDataset(
            tf.gather([str(stores.here(path)) for path in paths], shard_number),
            record_bytes=dtype.itemsize * int(np.prod(shape)),
            header_bytes=tf.gather(tf.constant(header_bytes, tf.int64), shard_number),
        )

        def numbers(block: tf.Tensor) -> tf.Tensor:
            flat = tf.io.decode_raw(block, tf.as_dtype(dtype))
            return tf.reshape(flat, (-1, *shape))

        # Many at once: a function called for each row takes half as long as decoding an image.
        return encoded.batch(ROWS_AT_ONCE).map(numbers).unbatch()


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
        files = json_files.field(manifest, "files", dict, where)

        def check(shard: Shard) -> None:
            check_shard(folder, shard, dims, files)

        for _ in stores.mapped(folder, check, data.shards):
            pass
    except InputError as error:
        raise InputError(f"{error}; {again(folder)}") from None
    return EmbeddingShards(
        folder=artefacts.named(folder),
        data=data,
        dims=dims,
        fingerprint=artefacts.fingerprint(files),
    )


def check_shard(folder: Path, shard: Shard, dims: int, files: dict[str, Any]) -> None:
    """Raises where a field's file is not the manifest's, or does not have a row for each record."""
    for field in FIELDS:
        path = field_path(folder, shard, field)
        stored = None
        if stores.size_of(path) is not None:
            stored = open_known(path, files.get(path.name))
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
        for shard in self.data.shards:
            yield field_path(self.folder, shard, self.field)
