"""Embeds a data set with any encoder: one embedding shard beside each image shard.

python -m bct_keras.embed --encoder=runs/old --data=data/demo/new --out=data/demo/new-by-old
"""

from pathlib import Path

import numpy as np
from absl import flags

from bct_keras import artefacts, command, progress
from bct_keras.data import embeddings
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.data.embeddings import field_path
from bct_keras.encoders import Encoder, load_encoder


def embed(encoder: Encoder, data: DataSet, out: Path) -> str:
    """Returns one line that says what is there now."""
    made_from = {
        "data": data.fingerprint,
        "encoder": encoder.fingerprint,
        "credible_share": embeddings.CREDIBLE_SHARE,
    }
    summary = f"{data.records:,} embeddings of {encoder.dims} dimensions"
    if artefacts.is_current(out, embeddings.KIND, made_from):
        return f"{out} is up to date: {summary}"
    data.check_content()
    with artefacts.new_folder(out) as folder:
        write_embeddings(encoder, data, folder)
        write_credible(data, folder)
        artefacts.write_manifest(
            folder,
            embeddings.KIND,
            made_from,
            dims=encoder.dims,
            encoder=str(encoder.path),
            data_folder=str(data.folder),
            files={file.name: artefacts.file_sha256(file) for file in sorted(folder.glob("*.npy"))},
        )
    return f"{out} written: {summary}"


def write_embeddings(encoder: Encoder, data: DataSet, folder: Path) -> None:
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
    def read(field: str) -> np.ndarray:
        return np.concatenate([np.load(field_path(folder, shard, field)) for shard in data.shards])

    credible = embeddings.credible_rows(read("old_embedding"), read("label"))
    ends = np.cumsum([shard.records for shard in data.shards])
    for shard, rows in zip(data.shards, np.split(credible, ends[:-1]), strict=True):
        np.save(field_path(folder, shard, "credible"), rows.astype(np.float32))


def define_flags() -> None:
    flags.DEFINE_string("encoder", None, "a run's folder, a .keras file, a SavedModel or a .tflite file")
    flags.DEFINE_string("data", None, "the data set to embed")
    flags.DEFINE_string("out", None, "the folder to make")


def main() -> None:
    data = open_data_set(command.required("data"))
    print(embed(load_encoder(command.required("encoder")), data, Path(command.required("out"))))


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "")
