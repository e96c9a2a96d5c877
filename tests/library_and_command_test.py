"""Tests that the same training by library and by command gives the same weights, bit for bit."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import bct_keras as bct
from bct_keras import specs
from bct_keras.backbones.iresnet import iresnet_small
from bct_keras.data.dataset import open_data_set
from bct_keras.data.embeddings import EmbeddingShards, field_path, open_embeddings
from bct_keras.embed.credible import with_fields
from bct_keras.embed.run import embed
from bct_keras.encoders import load_encoder
from bct_keras.methods import METHODS
from bct_keras.train.input import training_batches
from bct_keras.train.recipe import Recipe
from bct_keras.train.trainer import Run, Watch

DIMS, EPOCHS, BATCH, SEED, RATE = 8, 2, 8, 3, 0.01


@pytest.fixture(scope="module")
def shards(data_root, tiny_encoder_path, tmp_path_factory) -> EmbeddingShards:
    data, folder = open_data_set(data_root / "new"), tmp_path_factory.mktemp("old") / "embedded"
    embed(load_encoder(tiny_encoder_path(DIMS)), data, folder)
    return open_embeddings(folder, data)


def by_command(method: str, shards: EmbeddingShards, workdir) -> list[np.ndarray]:
    """Trains as `python -m bct_keras.train` does once it has its data.

    Returns the weights of the encoder that it leaves.
    """
    recipe = Recipe(
        backbone="iresnet_small(width=4)",
        dims=DIMS,
        head="arcface(margin=0.3)",
        method=method,
        optimizer="sgd",
        schedule="cosine",
        learning_rate=RATE,
        batch_size=BATCH,
        epochs=EPOCHS,
        mirror=False,
        seed=SEED,
    )
    watch = Watch(checkpoint_steps=0, checkpoints_kept=1, nan_limit=0, validation=None)
    Run(
        recipe=recipe,
        data=shards.data,
        old=shards,
        strategy=tf.distribute.get_strategy(),
        workdir=workdir,
        watch=watch,
    ).train()
    encoder: Any = keras.saving.load_model(workdir / "encoder.keras")
    return encoder.get_weights()


def by_library(method: str, shards: EmbeddingShards) -> list[np.ndarray]:
    """Trains from arrays, in the order in which the command sees its images."""
    old = bct.OldEmbeddings(stored(shards, "old_embedding"), stored(shards, "label"))
    steps = EPOCHS * (shards.data.records // BATCH)
    keras.utils.set_random_seed(SEED)
    backbone = iresnet_small(image_size=28, dims=DIMS, width=4)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True  # as the command has it by default; it sums in another order
    head = bct.heads.ArcFace(classes=shards.data.classes, margin=0.3)
    model = bct.CompatibleModel(backbone, head, specs.build(METHODS, method, seed=SEED))
    rate = keras.optimizers.schedules.CosineDecay(RATE, steps)
    model.compile(optimizer=bct.optimizers.SGD(rate), old=old)
    arrays: Any = arrays_in_order(shards, model.method.needs)
    # Of a shape that is known, as the command's: TensorFlow adds up in another order where it is
    # not.
    batches = tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH, drop_remainder=True)
    model.fit(batches, epochs=EPOCHS, steps_per_epoch=steps // EPOCHS, verbose=0)
    return model.encoder.get_weights()


def stored(shards: EmbeddingShards, field: str) -> np.ndarray:
    files = [field_path(shards.folder, shard, field) for shard in shards.data.shards]
    return np.concatenate([np.load(path) for path in files])


def arrays_in_order(
    shards: EmbeddingShards, fields: tuple[str, ...]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns the fields and the labels of all epochs, one after the other."""
    old = with_fields(shards, fields)
    batches = training_batches(
        shards.data, old, fields, BATCH, SEED, first_step=0, epochs=EPOCHS, mirror=False
    )
    given = list(batches.as_numpy_iterator())
    names = ("image", *fields)
    found = {name: np.concatenate([batch[name] for batch, _ in given]) for name in names}
    return found, np.concatenate([labels for _, labels in given])


@pytest.mark.long
@pytest.mark.parametrize("method", ["mixbct(mix_ratio=0.5)", "advbct"])
def test_the_weights_are_the_same(method, shards, tmp_path):
    found, expected = by_library(method, shards), by_command(method, shards, tmp_path / "run")
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
