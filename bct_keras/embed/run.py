"""Embeds a data set: embeddings, labels and which rows are credible, one shard beside each image
shard.
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
    """Returns one line that says what is there now."""
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
    """Does the same, and says what pixels the encoder gets, what is there now, and what looks wrong
    with it.
    """
    for line in trial.told(encoder):
        say(line)
    if not out.exists():
        for warning in trial.before(encoder, data):
            say(warning)
    say(embed(encoder, data, out))
    for warning in trial.after_shards(encoder.spec, open_embeddings(out, data)):
        say(warning)


def write_embeddings(encoder: Encoder, data: DataSet, folder: Path) -> None:
    """Writes the embeddings and the labels of each shard."""
    with progress.bar(f"embedding {data.folder}", data.records) as embedded:
        for shard in data.shards:
            found, labels = [], []
            for batch_embeddings, batch in encoder.embed_data(data, (shard,)):
                found.append(batch_embeddings)
                labels.append(batch["label"].numpy())
                embedded.update(len(batch_embeddings))
            np.save(field_path(folder, shard, "old_embedding"), np.concatenate(found))
            np.save(field_path(folder, shard, "label"), np.concatenate(labels))


def write_credible(data: DataSet, folder: Path) -> None:
    """Writes which rows are credible, by both ways to tell: they cost less than to ask for one."""
    old_files = [field_path(folder, shard, "old_embedding") for shard in data.shards]
    labels = data.checked_labels(
        [open_array(field_path(folder, shard, "label")) for shard in data.shards]
    )
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
    ends = np.cumsum([shard.records for shard in data.shards])
    for name, field in class_features.CREDIBLE.items():
        for shard, rows in zip(data.shards, np.split(credible[name], ends[:-1]), strict=True):
            np.save(field_path(folder, shard, field), rows)


def column_norms(files: list[Path]) -> np.ndarray:
    """Returns the norm of each dimension over the normalised embeddings of all files, [dims]."""
    return class_features.column_norms(open_array(path) for path in files)
