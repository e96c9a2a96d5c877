"""Embedding shards: beside each image shard one .npy file per field, in the order of its records.

Fields: `old_embedding` [records, dims] float32 as the encoder gave it, `label` [records] int64, and
`credible` [records] float32, 1 where the old embedding lies near its class mean; `credible_rows_then_columns` is
the same by the released code's measure.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from bct_keras import artefacts
from bct_keras.data.class_features import normalised as normalised  # used with embeddings everywhere
from bct_keras.data.dataset import DataSet, Shard
from bct_keras.errors import InputError

KIND = "embeddings"
CREDIBLE_SHARE = 0.9
CREDIBLE = {"rows": "credible", "rows_then_columns": "credible_rows_then_columns"}  # what is normalised: the field
FIELDS = ("old_embedding", "label", *CREDIBLE.values())


@dataclass(frozen=True)
class EmbeddingShards:
    folder: Path
    data: DataSet
    dims: int
    fingerprint: str

    def stream(self, shard: Shard, field: str) -> tf.data.Dataset:
        path = field_path(self.folder, shard, field)
        stored = np.load(path, mmap_mode="r")
        row_bytes = stored.dtype.itemsize * int(np.prod(stored.shape[1:]))
        header_bytes = path.stat().st_size - row_bytes * len(stored)
        rows = tf.data.FixedLengthRecordDataset(str(path), row_bytes, header_bytes)
        dtype, shape = tf.as_dtype(stored.dtype), stored.shape[1:]
        return rows.map(lambda row: tf.reshape(tf.io.decode_raw(row, dtype), shape))


def open_embeddings(folder: str | Path, data: DataSet) -> EmbeddingShards:
    folder = Path(folder)
    manifest = artefacts.read_manifest(folder, KIND)
    if manifest["made_from"].get("data") != data.fingerprint:
        raise InputError(
            f"{folder} holds embeddings of another data set ({manifest.get('data_folder')}), not of {data.folder}; "
            "run embed on it"
        )
    try:
        dims, files = int(manifest["dims"]), dict(manifest["files"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / artefacts.MANIFEST} is not complete: {error!r}; {again(folder)}") from None
    for path in (field_path(folder, shard, field) for shard in data.shards for field in FIELDS):
        if not path.is_file() or artefacts.file_sha256(path) != files.get(path.name):
            raise InputError(f"{path}: this embedding shard is missing or was changed; {again(folder)}")
    return EmbeddingShards(folder, data, dims, artefacts.fingerprint(files))


def again(folder: Path) -> str:
    # What is there would be taken as up to date.
    return f"remove {folder} and run embed again"


def field_path(folder: Path, shard: Shard, field: str) -> Path:
    return folder / f"{shard.name}.{field}.npy"
