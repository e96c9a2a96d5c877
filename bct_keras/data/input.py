"""The batches that `fit` reads: image shards zipped with embedding shards, in an order set by (seed, epoch)."""

import tensorflow as tf

from bct_keras.data import dataset
from bct_keras.data.dataset import DataSet, Shard
from bct_keras.data.embeddings import EmbeddingShards

SHARDS_AT_ONCE = 8
# Records are permuted within windows of this many, read from shards in a new order each epoch; `prepare` has
# already mixed the identities over the shards. tf.data's own shuffle cannot take its seed from the epoch.
WINDOW_RECORDS = 4096


def training_batches(
    data: DataSet,
    old: EmbeddingShards | None,
    fields: tuple[str, ...],
    batch_size: int,
    seed: int,
    first_step: int,
    epochs: int,
    mirror: bool,
) -> tf.data.Dataset:
    """({"image": [batch, size, size, 3] uint8, field: [batch, ...]}, label [batch]), epoch after epoch.

    What an epoch holds depends on the seed and its number alone, so that a run can go on at any step.
    """
    steps_per_epoch = data.records // batch_size
    first_epoch, skipped = divmod(first_step, steps_per_epoch)

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        epoch_seed = seed_of_epoch(seed, epoch)
        batches = stored_batches(data, old, fields, batch_size, epoch_seed).enumerate()
        return batches.skip(tf.where(epoch == first_epoch, tf.constant(skipped, tf.int64), 0)).map(
            lambda index, batch: decoded(data, batch, mirrored_rows(batch_size, mirror, fold_in(epoch_seed, index))),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    return tf.data.Dataset.range(first_epoch, epochs).flat_map(one_epoch).prefetch(tf.data.AUTOTUNE)


def stored_batches(
    data: DataSet, old: EmbeddingShards | None, fields: tuple[str, ...], batch_size: int, epoch_seed: tf.Tensor
) -> tf.data.Dataset:
    """Records not yet decoded, with their rows of every field, in the order of an epoch."""
    streams = [record_stream(data, shard, old, fields) for shard in data.shards]
    windows = in_shuffled_order(streams, epoch_seed).batch(WINDOW_RECORDS).enumerate()
    windows = windows.map(lambda index, window: permuted(window, fold_in(epoch_seed, index)))
    return windows.rebatch(batch_size, drop_remainder=True)


def ids_of_step(data: DataSet, batch_size: int, seed: int, step: int) -> list[str]:
    """What the batch of a step was made of: read again, because strings cannot go through `fit`."""
    epoch, index = divmod(step, data.records // batch_size)
    batches = stored_batches(data, None, (), batch_size, seed_of_epoch(seed, tf.constant(epoch, tf.int64)))
    (batch,) = batches.skip(index).take(1)
    return dataset.ids_of(data.parse(batch["record"]))


def seed_of_epoch(seed: int, epoch: tf.Tensor) -> tf.Tensor:
    return fold_in(tf.constant([seed, 0], tf.int64), epoch)


def fold_in(seed: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    return tf.random.fold_in(seed, number)  # pyright: ignore  (its stub knows no tensors)


def shuffled(count: int | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """The numbers below `count` in an order set by the seed."""
    return tf.argsort(tf.random.stateless_uniform(tf.reshape(count, [1]), seed), stable=True)


def record_stream(data: DataSet, shard: Shard, old: EmbeddingShards | None, fields: tuple[str, ...]) -> tf.data.Dataset:
    """Each record as stored, with its row of every field."""
    streams: dict[str, tf.data.Dataset] = {"record": tf.data.TFRecordDataset(str(shard.path))}
    if old is not None:
        streams.update((field, old.stream(shard, field)) for field in fields)
    return tf.data.Dataset.zip(streams)


def in_shuffled_order(streams: list[tf.data.Dataset], seed: tf.Tensor) -> tf.data.Dataset:
    """One record of each of a few shards in turn, the shards in an order set by the seed."""

    def read(index: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.choose_from_datasets(
            streams, tf.data.Dataset.from_tensors(tf.cast(index, tf.int64)).repeat()
        )

    return tf.data.Dataset.from_tensor_slices(shuffled(len(streams), seed)).interleave(
        read, cycle_length=min(SHARDS_AT_ONCE, len(streams))
    )


def permuted(window: dict[str, tf.Tensor], seed: tf.Tensor) -> dict[str, tf.Tensor]:
    order = shuffled(tf.shape(window["record"])[0], seed)
    return {field: tf.gather(values, order) for field, values in window.items()}


def mirrored_rows(batch_size: int, mirror: bool, seed: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform([batch_size], seed) < (0.5 if mirror else 0.0)


def decoded(data: DataSet, batch: dict[str, tf.Tensor], mirrored: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    record = data.parse(batch.pop("record"))

    def decode(row: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image = data.decode(row[0])
        return tf.cond(row[1], lambda: image[:, ::-1], lambda: image)

    image = tf.map_fn(
        decode,
        (record["image"], mirrored),
        fn_output_signature=tf.TensorSpec((data.image_size, data.image_size, 3), tf.uint8),
    )
    return {"image": image, **batch}, record["label"]
