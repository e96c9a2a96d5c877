"""Which embeddings of a data set are credible, told over all of its shards."""

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bct_keras import artefacts, stores
from bct_keras.data.dataset import DataSet
from bct_keras.data.embeddings import FieldFiles, field_path
from bct_keras.embed.by_class import map_classes
from bct_keras.methods import class_features
from bct_keras.methods.class_blocks import Block
from bct_keras.untrusted.arrays import load_array, open_array


def write_array(path: Path, batches: list[np.ndarray]) -> dict[str, str]:
    """Writes the rows of all batches; returns the file's name with its sha256.

    A file that is there already with just these stays.
    """
    content = io.BytesIO()
    np.save(content, np.concatenate(batches))
    sha256 = hashlib.sha256(content.getbuffer()).hexdigest()
    if stores.size_of(path) is None or artefacts.file_sha256(path) != sha256:
        with artefacts.placing(path) as beside:
            beside.write_bytes(content.getbuffer())
    return {path.name: sha256}


def write_credible(data: DataSet, folder: Path) -> dict[str, str]:
    """Writes which rows are credible, and returns the sha256 of each file.

    It is told by both ways: they cost less than to ask for one.
    """
    old_files = FieldFiles(folder, data, "old_embedding")
    label_files = FieldFiles(folder, data, "label")
    label_batches = list(stores.mapped(folder, load_array, label_files))
    for _ in stores.mapped(folder, stores.here, old_files):  # fetched, where they are of a store
        pass
    labels = data.checked_labels(label_batches)
    norms = {"rows": None, "rows_then_columns": column_norms(old_files)}
    credible = {name: np.zeros(len(labels), np.float32) for name in norms}

    def find(block: Block) -> dict[str, np.ndarray]:
        (old,) = block.embeddings
        found = {}
        for name, norm in norms.items():
            found[name] = class_features.credible(old, class_features.CREDIBLE_SHARE, norm)
        return found

    for block, found in map_classes(find, labels, [old_files], "credible embeddings"):
        for name, rows in found.items():
            credible[name][block.records] = rows
    files = {}
    for name, of_shard in class_features.CREDIBLE.items():
        files |= write_by_shards(data, folder, of_shard, credible[name])
    return files


def write_by_shards(data: DataSet, folder: Path, field: str, values: np.ndarray) -> dict[str, str]:
    """Writes a field's values, [records], in a file for each shard; returns their sha256."""
    ends = np.cumsum([shard.records for shard in data.shards])

    def write(number: int) -> dict[str, str]:
        shard = data.shards[number]
        rows = values[ends[number] - shard.records : ends[number]]
        return write_array(field_path(folder, shard, field), [rows])

    files = {}
    for of_shard in stores.mapped(folder, write, range(len(data.shards))):
        files |= of_shard
    return files


def column_norms(files: Iterable[Path]) -> np.ndarray:
    """Returns the norm of each dimension over the normalised embeddings of all files, [dims]."""
    pieces = (open_array(path) for path in files)
    return class_features.column_norms(pieces)
