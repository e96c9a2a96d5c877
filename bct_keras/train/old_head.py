"""The head that the training of an old encoder left, for the method that asks for it."""

import functools
from pathlib import Path

from bct_keras import artefacts, stores
from bct_keras.data.embeddings import KIND, EmbeddingShards
from bct_keras.embed.class_store import StoredOldEmbeddings
from bct_keras.encoders import HEAD_FILE
from bct_keras.errors import InputError
from bct_keras.methods.old_source import Classifier
from bct_keras.untrusted.arrays import read_arrays
from bct_keras.untrusted.json_files import field


def source(shards: EmbeddingShards) -> StoredOldEmbeddings:
    """Returns stored embeddings as methods ask for them, with the head beside their encoder."""
    return StoredOldEmbeddings(shards, functools.partial(find_head, shards))


def find_head(shards: EmbeddingShards, named: str) -> Classifier:
    """Reads the file that was named, or else the one that a run leaves beside its encoder."""
    manifest = artefacts.read_manifest(shards.folder, KIND)
    encoder = field(manifest, "encoder", str, shards.folder / artefacts.MANIFEST)
    path = stores.place(named) if named else stores.place(encoder).parent / HEAD_FILE
    return read_head(path, shards.dims)


def read_head(path: Path, dims: int) -> Classifier:
    """Reads `class_weights` [classes, dims] and, for a linear classifier, `bias`."""
    try:
        found = read_arrays(path, "a head", ("class_weights",), ("bias",))
    except InputError as error:
        raise InputError(
            f"lwf needs the old encoder's head: {error}; train the old encoder with bct_keras, or "
            "give lwf(old_head=FILE.npz) with `class_weights` [classes, dims]"
        ) from None
    weights = found["class_weights"]
    bias = found.get("bias")
    for values in found.values():
        if values.dtype.kind not in "biuf":
            raise InputError(f"{path}: a head holds numbers, and there are texts")
    if weights.ndim != 2 or weights.shape[1] != dims:
        raise InputError(f"{path}: `class_weights` has to be there, [classes, {dims}]")
    classes = weights.shape[:1]
    if bias is not None and bias.shape != classes:
        raise InputError(f"{path}: `bias` has to have one value for each of {len(weights)} classes")
    return Classifier(weights, bias)
