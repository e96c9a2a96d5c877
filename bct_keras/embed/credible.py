"""Which embeddings of a data set are credible, told over all of its shards.

Training by `mixbct` alone asks for it, so it is found when that begins and kept beside the
embeddings: to make embeddings, none has to be read again.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from bct_keras import stores
from bct_keras.data.embeddings import FIELDS, EmbeddingShards, FieldFiles
from bct_keras.embed.by_class import map_classes
from bct_keras.embed.kept import Kept
from bct_keras.methods import class_features
from bct_keras.methods.class_blocks import Block
from bct_keras.untrusted.arrays import load_array, open_array

KIND = "credible embeddings"


def with_fields(shards: EmbeddingShards, fields: Iterable[str]) -> EmbeddingShards:
    """Returns embeddings that have all of these fields, which a method reads from a batch."""
    missing = [name for name in fields if name not in FIELDS]
    if not missing:
        return shards
    kept = Kept(
        shards=shards,
        kind=KIND,
        suffix="credible",
        depends_on={"share": class_features.CREDIBLE_SHARE},
        compute=lambda: credible(shards),
    )
    return replace(shards, of_all={name: kept.file(name) for name in missing})


def credible(shards: EmbeddingShards) -> dict[str, np.ndarray]:
    """Returns which records are credible by each of the measures, [records] float32.

    All are told: they cost less together than to ask for one.
    """
    folder, data = shards.folder, shards.data
    old_files = FieldFiles(folder, data, "old_embedding")
    label_files = FieldFiles(folder, data, "label")
    labels = data.checked_labels(stores.mapped(folder, load_array, label_files))
    for _ in stores.mapped(folder, stores.here, old_files):  # fetched, where they are of a store
        pass
    norms = {"rows": None, "rows_then_columns": column_norms(old_files)}
    found = {}
    for field in class_features.CREDIBLE.values():
        found[field] = np.zeros(len(labels), np.float32)

    def find(block: Block) -> dict[str, np.ndarray]:
        (old,) = block.embeddings
        share = class_features.CREDIBLE_SHARE
        of_block = {}
        for measure, field in class_features.CREDIBLE.items():
            of_block[field] = class_features.credible(old, share, norms[measure])
        return of_block

    for block, of_block in map_classes(find, labels, [old_files], "credible embeddings"):
        for field, rows in of_block.items():
            found[field][block.records] = rows
    return found


def column_norms(files: Iterable[Path]) -> np.ndarray:
    """Returns the norm of each dimension over the normalised embeddings of all files, [dims]."""
    pieces = (open_array(path) for path in files)
    return class_features.column_norms(pieces)
