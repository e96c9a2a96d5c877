"""New embeddings to look around in, for TensorBoard's projector."""

import csv
from pathlib import Path

import keras
import numpy as np

from bct_keras.data.dataset import DataSet

SAMPLE = 1000


def write_projector(folder: Path, encoder: keras.Model, data: DataSet) -> None:
    """Writes new embeddings of some images, with their labels.

    TensorBoard's projector reads two tables and a file that names them.
    """
    embeddings, labels = [], []
    for batch in data.batches(256).take(-(-SAMPLE // 256)):
        embeddings.append(np.asarray(encoder(batch["image"], training=False)))
        labels.extend(batch["label"].numpy().tolist())
    rows = np.concatenate(embeddings)[:SAMPLE]
    np.savetxt(folder / "embeddings.tsv", rows, fmt="%.6g", delimiter="\t")
    with (folder / "labels.tsv").open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([label] for label in labels[:SAMPLE])
    (folder / "projector_config.pbtxt").write_text(
        'embeddings {\n  tensor_name: "new embeddings"\n  tensor_path: "embeddings.tsv"\n'
        '  metadata_path: "labels.tsv"\n}\n'
    )
