"""Embeds a data set: one embedding shard beside each image shard.

A shard holds embeddings, labels and which rows are credible, that is, near their class's mean.
"""

from pathlib import Path

import numpy as np

from bct_keras import artefacts, progress
from bct_keras.data import embeddings
from bct_keras.data.dataset import DataSet
from bct_keras.data.embeddings import field_path, open_embeddings
from bct_keras.embed.by_class import map_classes
from bct_keras.encoders import Encoder, trial
from bct_keras.methods import class_features
from bct_keras.methods.class_blocks import Block
from bct_keras.progress import Say
from bct_keras.untrusted.arrays import open_array


def embed(encoder: Encoder, data: DataSet, out: Path) -> str:
    """Embeds a data set, where that is not done yet; returns one line that says what is there."""
    made_from = {
        "data": data.fingerprint,
        "encoder": encoder.fingerprint,
        "credible_share": class_features.CREDIBLE_SHARE,
        "credible": sorted(class_features.CREDIBLE),
    }
    summary = f"{data.records:,} embeddings of {encoder.dims} dimensions"
    with artefacts.making(out, embeddings.KIND, made_from) as folder:
        if folder is None:
            return f"{out} is up to date: {summary}"
        data.check_content()
        write_embeddings(encoder, data, folder)
        write_credible(data, folder)
        artefacts.write_manifest(
            folder,
            embeddings.KIND,
            made_from,
            dims=encoder.dims,
            encoder=str(encoder.path),
            encoder_spec=encoder.spec,
            data_folder=str(data.folder),
            files={file.name: artefacts.file_sha256(file) for file in sorted(folder.glob("*.npy"))},
        )
    return f"{out} written: {summary}"


def embed_and_tell(encoder: Encoder, data: DataSet, out: Path, say: Say) -> None:
    """Embeds a data set, and says what is done.

    That is what pixels the encoder gets, what is there now, and what looks wrong with it.
    """
    for line in trial.told(encoder):
        say(line)
    if not out.exists():
        for warning in trial.before(encoder, data):
            say(warning)
    say(embed(encoder, data, out))
    shards = open_embeddings(out, data)
    for warning in trial.after_shards(encoder.spec, shards):
        say(warning)


def write_embeddings(encoder: Encoder, data: DataSet, folder: Path) -> None:
    """Writes the embeddings and the labels of each shard."""
    with progress.bar(f"embedding {data.folder}", data.records) as embedded:
        for shard in data.shards:
            found = []
            labels = []
            for batch_embeddings, batch in encoder.embed_data(data, (shard,)):
                found.append(batch_embeddings)
                labels.append(batch["label"].numpy())
                embedded.update(len(batch_embeddings))
            embeddings_file = field_path(folder, shard, "old_embedding")
            np.save(embeddings_file, np.concatenate(found))
            labels_file = field_path(folder, shard, "label")
            np.save(labels_file, np.concatenate(labels))


def write_credible(data: DataSet, folder: Path) -> None:
    """Writes which rows are credible, by both ways to tell: they cost less than to ask for one."""
    old_files = []
    label_batches = []
    for shard in data.shards:
        old_files.append(field_path(folder, shard, "old_embedding"))
        label_batches.append(open_array(field_path(folder, shard, "label")))
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
    for name, field in class_features.CREDIBLE.items():
        write_by_shards(data, folder, field, credible[name])


def write_by_shards(data: DataSet, folder: Path, field: str, values: np.ndarray) -> None:
    """Writes a field's values, [records], in a file for each shard."""
    first = 0
    for shard in data.shards:
        end = first + shard.records
        path = field_path(folder, shard, field)
        np.save(path, values[first:end])
        first = end


def column_norms(files: list[Path]) -> np.ndarray:
    """Returns the norm of each dimension over the normalised embeddings of all files, [dims]."""
    pieces = (open_array(path) for path in files)
    return class_features.column_norms(pieces)
