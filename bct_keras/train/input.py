"""The batches that `fit` reads: image shards zipped with embedding shards.

Their order is set by the seed and the epoch.

Several workers read all records, which is cheap, and each decodes its own rows of every batch:
together they see what one process would, however many they are, and embeddings stay beside their
images.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bct_keras import _tensorflow
from bct_keras.augmentations import augmented
from bct_keras.augmentations.seeds import take_seeds
from bct_keras.data import dataset
from bct_keras.data.dataset import DataSet
from bct_keras.data.embeddings import EmbeddingShards
from bct_keras.train.class_batches import ClassBatches

SHARDS_AT_ONCE = 8
# A record is drawn from a buffer of this many, filled from shards in a new order each epoch;
# `prepare` has already mixed the identities over the shards.
SHUFFLED_AT_ONCE = 4096
# Images for each turn of the loop over a batch, at most: a turn for each image takes a tenth as
# long as decoding it, and what is not looped over is copied once less. TURNED_TOGETHER where an
# image is more than one operation, of which so many make a graph slow to build.
DECODED_TOGETHER, TURNED_TOGETHER = 256, 8
READ_AHEAD = 2  # batches not yet decoded
LARGEST_SEED = 1 << 30
AUGMENTING = 1  # tells its seed from that of the mirrored rows


@_tensorflow.as_it_stands
def training_batches(
    data: DataSet,
    old: EmbeddingShards | None,
    fields: tuple[str, ...],
    batch_size: int,
    seed: int,
    first_step: int,
    epochs: int,
    mirror: bool,
    context: tf.distribute.InputContext | None = None,
    by_class: ClassBatches | None = None,
    augment: Sequence[keras.layers.Layer] = (),
) -> tf.data.Dataset:
    """Returns the batches of a training, epoch after epoch, from a step on.

    A batch is ({"image": [batch, size, size, 3] uint8, field: [batch, ...]}, label [batch]). What
    an epoch holds depends on the seed and its number alone, so that a run can go on at any step.
    `batch_size` is that of all replicas; with a context each batch is one replica's share of it,
    as `strategy.distribute_datasets_from_function` expects. Batches are of records in random
    order, or those of `by_class`. The layers of `augment` change the images alone: old embeddings
    stay those of the images as they are.
    """
    context = context or tf.distribute.InputContext()
    steps = data.records // batch_size
    first_epoch, skipped = divmod(first_step, steps)
    seeds = take_seeds(augment)

    def decoded_batch(batch: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        fields, labels = decoded(data, batch)
        if augment:
            seed = fields.pop("seed")[0]  # that of the first row, so each replica has its own
            fields["image"] = augmented(augment, seeds, fields["image"], seed)
        return fields, labels

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        epoch_seed = seed_of_epoch(seed, epoch)

        def with_draws(index: tf.Tensor, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            batch_seed = fold_in(epoch_seed, index)
            found = {**batch, "mirrored": mirrored_rows(batch_size, mirror, batch_seed)}
            if augment:
                found["seed"] = seeds_of_rows(batch_size, batch_seed)
            return found

        done = tf.where(epoch == first_epoch, tf.constant(skipped, tf.int64), 0)
        if by_class:
            batches = by_class.of_epoch(epoch, steps)
        else:
            batches = stored_batches(data, old, fields, batch_size, epoch_seed)
        batches = batches.enumerate().skip(done).map(with_draws)
        # Read while others are decoded; otherwise a decoding thread waits for each batch.
        batches = own_rows(batches, batch_size, context).prefetch(READ_AHEAD)
        return batches.map(decoded_batch, num_parallel_calls=tf.data.AUTOTUNE)

    all_epochs = tf.data.Dataset.range(first_epoch, epochs).flat_map(one_epoch)
    return all_epochs.prefetch(tf.data.AUTOTUNE)


def ids_of_step(
    data: DataSet, batch_size: int, seed: int, step: int, by_class: ClassBatches | None = None
) -> list[str]:
    """Returns what the batch of a step was made of.

    It is read again, because strings cannot go through `fit`.
    """
    if by_class:
        records, *_ = by_class.read(np.array(step))
        return dataset.ids_of(data.parse(tf.constant(list(records))))
    epoch, index = divmod(step, data.records // batch_size)
    epoch_seed = seed_of_epoch(seed, tf.constant(epoch, tf.int64))
    batches = stored_batches(data, None, (), batch_size, epoch_seed)
    (batch,) = batches.skip(index).take(1)
    record = data.parse(batch["record"])
    return dataset.ids_of(record)


def seed_of_epoch(seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """Returns the seed of all that is random in an epoch."""
    seed_of_all = tf.constant([seed, 0], tf.int64)
    return fold_in(seed_of_all, epoch)


def fold_in(seed: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Returns a seed of its own for each number."""
    return tf.random.fold_in(seed, number)  # pyright: ignore  (its stub knows no tensors)


def stored_batches(
    data: DataSet,
    old: EmbeddingShards | None,
    fields: tuple[str, ...],
    batch_size: int,
    epoch_seed: tf.Tensor,
) -> tf.data.Dataset:
    """Returns records not yet decoded, with their rows of every field, in the order of an epoch."""
    paths = data.files()

    def read(shard_number: tf.Tensor) -> tf.data.Dataset:
        streams: dict[str, tf.data.Dataset] = {}
        streams["record"] = tf.data.TFRecordDataset(tf.gather(paths, shard_number))
        if old is not None:
            for field in fields:
                streams[field] = old.stream(field, shard_number)
        return tf.data.Dataset.zip(streams)

    # One record of each of a few shards in turn.
    order = tf.data.Dataset.from_tensor_slices(shuffled(len(paths), epoch_seed))
    records = order.interleave(read, cycle_length=min(SHARDS_AT_ONCE, len(paths)))
    return drawn_from_buffer(records, epoch_seed).batch(batch_size, drop_remainder=True)


def drawn_from_buffer(records: tf.data.Dataset, seed: tf.Tensor) -> tf.data.Dataset:
    """Shuffles as `records.shuffle` does, by our seed alone.

    That one would mix TensorFlow's global seed into ours, and fails where that is 0.
    """
    one = tf.constant(1, tf.int64)
    variant = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(records),
        buffer_size=SHUFFLED_AT_ONCE,
        seed=seed[0],
        seed2=tf.bitwise.bitwise_or(seed[1], one),  # two zeros would mean any seed
        output_types=tf.nest.flatten(tf.compat.v1.data.get_output_types(records)),
        output_shapes=tf.nest.flatten(tf.compat.v1.data.get_output_shapes(records)),
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(variant, records.element_spec)


def shuffled(count: int, seed: tf.Tensor) -> tf.Tensor:
    """Returns the numbers below `count` in an order set by the seed."""
    draws = tf.random.stateless_uniform([count], seed)
    return tf.argsort(draws, stable=True)


def mirrored_rows(batch_size: int, mirror: bool, seed: tf.Tensor) -> tf.Tensor:
    """Returns which rows of a batch are mirrored."""
    share = 0.5 if mirror else 0.0
    draws = tf.random.stateless_uniform([batch_size], seed)
    return draws < share


def seeds_of_rows(batch_size: int, seed: tf.Tensor) -> tf.Tensor:
    """Returns a seed for each row of a batch, [batch, 2]."""
    of_rows = fold_in(seed, tf.constant(AUGMENTING, tf.int64))
    return tf.random.stateless_uniform([batch_size, 2], of_rows, 0, LARGEST_SEED, tf.int32)


def own_rows(
    batches: tf.data.Dataset, batch_size: int, context: tf.distribute.InputContext
) -> tf.data.Dataset:
    """Returns of every batch the rows of this worker's replicas, one batch for each of them."""
    if context.num_replicas_in_sync == 1:
        return batches
    of_worker = batch_size // context.num_input_pipelines
    of_replica = batch_size // context.num_replicas_in_sync
    first = of_worker * context.input_pipeline_id
    last = first + of_worker

    def rows_of_worker(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {name: rows[first:last] for name, rows in batch.items()}

    return batches.map(rows_of_worker).rebatch(of_replica, drop_remainder=True)


def decoded(data: DataSet, batch: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Returns a batch with its images decoded, and its labels."""
    fields = dict(batch)
    record = data.parse(fields.pop("record"), ("image", "label"))
    images = decoded_images(data, record["image"], fields.pop("mirrored"))
    return {"image": images, **fields}, record["label"]


def decoded_images(data: DataSet, encoded: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    """Decodes [batch] strings to [batch, size, size, 3] uint8; mirrors the rows [batch] bool say.

    The rows to mirror are decoded first, so that they are mirrored in one piece. To ask of each
    image whether it is one takes a tenth of the time of decoding it.
    """
    rows = encoded.shape[0]
    assert rows  # batches are full, so it is known
    others, first = tf.dynamic_partition(tf.range(rows), tf.cast(mirrored, tf.int32), 2)
    order = tf.concat([first, others], 0)
    images = decoded_in_order(data, tf.ensure_shape(tf.gather(encoded, order), [rows]))
    count = tf.size(first)
    whole = (-1, *images.shape[1:])
    # As rows of pixels: TensorFlow reverses nothing else than the middle of three axes fast.
    lines = tf.reshape(images[:count], (-1, *images.shape[2:]))
    reverse = tf.reshape(tf.reverse(lines, [1]), whole)
    placed = tf.dynamic_stitch([first, others], [reverse, images[count:]])
    return tf.ensure_shape(placed, images.shape)


def decoded_in_order(data: DataSet, encoded: tf.Tensor) -> tf.Tensor:
    """Decodes [batch] strings to [batch, size, size, 3] uint8."""
    size = data.image_size
    shape: Any = encoded.shape
    rows: int = shape[0]
    together = images_together(data, rows)

    def decode(chunk: tf.Tensor) -> tf.Tensor:
        return tf.stack([data.decode(image) for image in tf.unstack(chunk, together)])

    if together == rows:
        return decode(encoded)
    signature = tf.TensorSpec((together, size, size, 3), tf.uint8)
    chunks = tf.reshape(encoded, (-1, together))
    images = tf.map_fn(decode, chunks, fn_output_signature=signature)
    return tf.reshape(images, (rows, size, size, 3))


def images_together(data: DataSet, rows: int) -> int:
    """Returns how many images a turn of the loop over a batch decodes: the rows are a multiple."""
    together = min(rows, DECODED_TOGETHER if data.upright and data.same_size else TURNED_TOGETHER)
    while rows % together:
        together -= 1
    return together
