import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.data.embeddings import EmbeddingShards, normalised, open_embeddings
from bct_keras.data.input import training_batches
from bct_keras.embed import embed
from bct_keras.encoders import load_encoder
from bct_keras.methods import METHODS
from bct_keras.methods.method import Method
from bct_keras.model import CompatibleModel
from bct_keras.recipe import Recipe

README = Path(__file__).parents[1] / "README.md"
DIMS = 8
# Small, because PReLU's slope jumps at 0: where two replicas round an activation to its other side, the next weights
# differ by the rate times a finite gradient. A gradient twice too large would still show a hundred times over.
LEARNING_RATE = 1e-4
RECIPE = Recipe(
    backbone="iresnet_small(width=4)",
    dims=DIMS,
    head="arcface",
    method="mixbct(mix_ratio=0.3)",
    optimizer="sgd",
    schedule="cosine",
    learning_rate=LEARNING_RATE,
    batch_size=8,
    epochs=5,
    mirror=True,
    seed=0,
)


def readme_method() -> type[Method]:
    """The README's example of a method of one's own, as it stands there."""
    (code,) = re.findall(r"```python\n(# my_methods\.py.*?)```", README.read_text(), re.DOTALL)
    names: dict = {}
    exec(code, names)
    return names["PullToOld"]


@pytest.fixture(scope="module")
def data(data_root) -> DataSet:
    return open_data_set(data_root / "new")


@pytest.fixture(scope="module")
def old(data, tiny_encoder_path, tmp_path_factory) -> EmbeddingShards:
    folder = tmp_path_factory.mktemp("old") / "embedded"
    embed(load_encoder(tiny_encoder_path(DIMS)), data, folder)
    return open_embeddings(folder, data)


def built(recipe: Recipe, data: DataSet, strategy: tf.distribute.Strategy | None = None) -> CompatibleModel:
    with (strategy or tf.distribute.get_strategy()).scope():
        return recipe.build_model(data.image_size, data.classes, steps=recipe.epochs, method=recipe.build_method())


def batches_of(recipe: Recipe, data: DataSet, old: EmbeddingShards, epochs: int) -> tf.data.Dataset:
    needs = recipe.build_method().needs
    return training_batches(data, old, needs, recipe.batch_size, recipe.seed, 0, epochs, recipe.mirror)


def fit(model: CompatibleModel, batches: tf.data.Dataset, steps: int) -> dict[str, list[float]]:
    """The logs of each step."""
    return model.fit(batches, epochs=steps, steps_per_epoch=1, shuffle=False, verbose=0).history  # pyright: ignore


def test_two_replicas_give_the_losses_of_one(data, old, two_replicas):
    # MixBCT, ArcFace and synchronized BatchNormalization on real batches: the rows to mix are drawn alike.
    one, two = (
        fit(built(RECIPE, data, strategy), batches_of(RECIPE, data, old, epochs=2), steps=5)
        for strategy in (None, two_replicas)
    )
    assert len(set(one["loss"])) == 5
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert one["mixed_rows"] == two["mixed_rows"] == [2.0] * 5  # floor(0.3 * 8), all rows credible or enough of them


def test_loss_is_the_mean_over_the_global_batch(data, old, two_replicas):
    recipe = replace(RECIPE, method="independent")
    ((batch, labels),) = batches_of(recipe, data, old, epochs=1).take(1)
    one, two = built(recipe, data), built(recipe, data, two_replicas)
    each = one.head(one.backbone(batch["image"], training=True), tf.cast(labels, tf.int32)).numpy()
    assert abs(each[:4].mean() - each[4:].mean()) > 0.01  # the replicas' own means differ
    for model in (one, two):
        batches = tf.data.Dataset.from_tensors((batch, labels))
        assert fit(model, batches, steps=1)["loss"] == [pytest.approx(each.mean(), rel=1e-5)]


def test_penalty_is_added_to_the_loss_of_the_head(data, old, monkeypatch):
    monkeypatch.setitem(METHODS, "pull", readme_method())
    recipe = replace(RECIPE, method="pull(weight=3)")
    ((batch, labels),) = batches_of(recipe, data, old, epochs=1).take(1)
    model = built(recipe, data)
    new = model.backbone(batch["image"], training=True).numpy()
    head_loss = np.mean(model.head(tf.constant(new), tf.cast(labels, tf.int32)))
    cosine = np.sum(normalised(new) * normalised(batch["old_embedding"].numpy()), axis=1)
    penalty = 3 * np.mean(1 - cosine)
    loss = fit(model, tf.data.Dataset.from_tensors((batch, labels)), steps=1)["loss"]
    assert loss == [pytest.approx(head_loss + penalty, rel=1e-5)]


def test_a_method_of_ones_own_trains_by_its_line_in_the_registry(data, old, monkeypatch):
    monkeypatch.setitem(METHODS, "pull", readme_method())
    recipe = replace(RECIPE, method="pull", head="softmax", learning_rate=0.01, epochs=20)
    model = built(recipe, data)
    batches = batches_of(recipe, data, old, epochs=1).take(1).repeat()
    losses = fit(model, batches, steps=20)["loss"]
    assert losses[-1] < 0.8 * losses[0]


def test_only_the_backbone_is_called_without_training(data):
    model = built(RECIPE, data)
    images = tf.zeros((2, 28, 28, 3), tf.uint8)
    np.testing.assert_array_equal(model({"image": images}), model.backbone(images, training=False))


def test_same_seed_same_start_and_another_seed_another(data):
    first, again, other = (built(replace(RECIPE, seed=seed), data).get_weights() for seed in (3, 3, 4))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert any(np.any(one != two) for one, two in zip(first, other, strict=True))
