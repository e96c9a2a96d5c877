"""New embeddings to look around in, for TensorBoard's projector."""

import csv
import math
from pathlib import Path

import keras
import numpy as np

from bct_keras.data.dataset import DataSet
from bct_keras.methods.outputs import EMBEDDING

SAMPLE = 1000  # images
BATCH_SIZE = 256
CONFIG = """\
embeddings {
  tensor_name: "new embeddings"
  tensor_path: "embeddings.tsv"
  metadata_path: "labels.tsv"
}
"""


def write_projector(folder: Path, encoder: keras.Model, data: DataSet) -> None:
    """Writes new embeddings of some images, with their labels.

    TensorBoard's projector reads two tables and a file that names them.
    """
    embeddings = []
    labels = []
    batches = math.ceil(SAMPLE / BATCH_SIZE)
    for batch in data.batches(BATCH_SIZE).take(batches):
        found = encoder(batch["image"], training=False)
        if isinstance(found, dict):
            found = found[EMBEDDING]
        embeddings.append(np.asarray(found))
        labels.extend(batch["label"].numpy().tolist())
    rows = np.concatenate(embeddings)[:SAMPLE]
    np.savetxt(folder / "embeddings.tsv", rows, fmt="%.6g", delimiter="\t")
    with (folder / "labels.tsv").open("w", newline="") as file:
        table = csv.writer(file, delimiter="\t")
        for label in labels[:SAMPLE]:
            table.writerow([label])
    (folder / "projector_config.pbtxt").write_text(CONFIG)
