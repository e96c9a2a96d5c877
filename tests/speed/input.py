"""Training batches of 112 x 112 JPEGs with old embeddings, against decoding alone: one JSON line
per figure.

Both ratios are of rates measured in turn in one run; the pipelines do nothing else, and nobody
trains on them.
"""

import bct_keras  # noqa: F401 -- before TensorFlow, as in the commands: it sets the allocator

# isort: split

import dataclasses
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from recordio_files import jpegs, write_recordio

from bct_keras import artefacts
from bct_keras.data import embeddings
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.prepare.run import prepare
from bct_keras.train.input import training_batches

REQUIRED_OF_DECODING, REQUIRED_OVER_MAP_THEN_BATCH = 0.9, 1.4
IMAGES, BATCH_SIZE, DIMS, ROUNDS = 24_000, 128, 512, 5
FIELDS = ("old_embedding", "credible")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = made_data(Path(folder))
        old = made_embeddings(Path(folder) / "by-old", data)
        pipelines = {
            "training": training_batches(
                data, old, FIELDS, BATCH_SIZE, seed=0, first_step=0, epochs=100, mirror=True
            ),
            "decoding": decoding_alone(data),
            "map, batch": map_then_batch(data),
        }
        rates = measured({name: iter(pipeline) for name, pipeline in pipelines.items()})
    compare(
        "training input",
        rates["training"],
        "decoding alone",
        rates["decoding"],
        REQUIRED_OF_DECODING,
    )
    compare(
        "training input",
        rates["training"],
        "map(decode), batch",
        rates["map, batch"],
        REQUIRED_OVER_MAP_THEN_BATCH,
    )


def made_data(folder: Path) -> DataSet:
    write_recordio(folder / "faces", jpegs(2000), IMAGES)
    prepare(f"recordio({folder / 'faces'})", "none", folder / "data")
    return open_data_set(folder / "data")


def made_embeddings(folder: Path, data: DataSet) -> embeddings.EmbeddingShards:
    folder.mkdir()
    random = np.random.default_rng(0)
    for shard in data.shards:
        rows: dict[str, np.ndarray] = {
            "old_embedding": random.standard_normal((shard.records, DIMS), np.float32)
        }
        rows["label"] = np.zeros(shard.records, np.int64)
        for field, values in rows.items():
            np.save(embeddings.field_path(folder, shard, field), values)
    files = {file.name: artefacts.file_sha256(file) for file in folder.glob("*.npy")}
    artefacts.write_manifest(
        folder, embeddings.KIND, {"data": data.fingerprint}, dims=DIMS, files=files
    )
    np.save(folder / "credible.npy", np.ones(data.records, np.float32))
    opened = embeddings.open_embeddings(folder, data)
    return dataclasses.replace(opened, of_all={"credible": folder / "credible.npy"})


def decoding_alone(data: DataSet) -> tf.data.Dataset:
    """Of records that are in memory and parsed."""
    serialized = next(iter(tf.data.TFRecordDataset(str(data.shards[0].path)).batch(BATCH_SIZE * 8)))
    batches = (
        tf.data.Dataset.from_tensor_slices(data.parse(serialized)["image"])
        .batch(BATCH_SIZE)
        .cache()
        .repeat()
    )
    decode = lambda batch: tf.map_fn(data.decode, batch, fn_output_signature=tf.uint8)  # noqa: E731
    return batches.map(decode, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def map_then_batch(data: DataSet) -> tf.data.Dataset:
    def decode(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        record = data.parse(serialized[None])
        return data.decode(record["image"][0]), record["label"][0]

    records = tf.data.TFRecordDataset([str(shard.path) for shard in data.shards]).repeat()
    return (
        records.map(decode, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(BATCH_SIZE)
        .prefetch(tf.data.AUTOTUNE)
    )


def measured(running: dict[str, tf.data.Iterator]) -> dict[str, float]:
    """Images/s of the fastest of some rounds: other programs on the machine only ever slow a round
    down.
    """
    rates = dict.fromkeys(running, 0.0)
    for _ in range(ROUNDS):
        for name, batches in running.items():
            for _ in range(30):  # what was decoded before the clock started
                next(batches)
            start = time.perf_counter()
            for _ in range(150):
                next(batches)
            rates[name] = max(rates[name], 150 * BATCH_SIZE / (time.perf_counter() - start))
            time.sleep(
                0.3
            )  # until its buffers are full, so that it does not decode in another's time
    return rates


def compare(name: str, rate: float, against: str, other: float, required: float) -> None:
    against = f"{against}, {other:,.0f} images/s (required: {required} times)"
    figure = {
        "name": name,
        "value": round(rate),
        "unit": "images/s",
        "against": against,
        "ratio": round(rate / other, 2),
    }
    print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
