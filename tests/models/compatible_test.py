import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras.backbones import BACKBONES
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.data.embeddings import EmbeddingShards, normalised, open_embeddings
from bct_keras.embed.credible import with_fields
from bct_keras.embed.run import embed
from bct_keras.encoders import load_encoder
from bct_keras.errors import InputError
from bct_keras.methods import METHODS
from bct_keras.methods.method import Method, Training
from bct_keras.methods.nccl import NCCL
from bct_keras.models import CompatibleModel
from bct_keras.train.input import training_batches
from bct_keras.train.recipe import Recipe

pytestmark = pytest.mark.seconds(45)

README = Path(__file__).parents[2] / "bct_keras/methods/README.md"
DIMS = 8
# Small, because ReLU's slope jumps at 0: where two replicas round an activation to its other side,
# the next weights differ by the rate times a finite gradient. A gradient twice too large would
# still show a hundred times over.
LEARNING_RATE = 1e-4
RECIPE = Recipe(
    backbone="tiny_backbones:one_convolution",
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


def method_of_the_page() -> type[Method]:
    """Is the page's example of a method of one's own, as it stands there."""
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


def built(
    recipe: Recipe, data: DataSet, strategy: tf.distribute.Strategy | None = None
) -> CompatibleModel:
    with (strategy or tf.distribute.get_strategy()).scope():
        method = recipe.build_method()
        method.prepare(None, Training(data.classes, recipe.old_dims, recipe.epochs, recipe.epochs))
        return recipe.build_model(data.image_size, data.classes, steps=recipe.epochs, method=method)


def batches_of(recipe: Recipe, data: DataSet, old: EmbeddingShards, epochs: int) -> tf.data.Dataset:
    needs = recipe.build_method().needs
    old = with_fields(old, needs)
    return training_batches(
        data,
        with_fields(old, needs),
        needs,
        recipe.batch_size,
        recipe.seed,
        0,
        epochs,
        recipe.mirror,
    )


def fit(model: CompatibleModel, batches: tf.data.Dataset, steps: int) -> dict[str, list[float]]:
    """Keeps the logs of each step."""
    return model.fit(batches, epochs=steps, steps_per_epoch=1, shuffle=False, verbose=0).history  # pyright: ignore


def test_two_replicas_give_the_losses_of_one(data, old, two_replicas):
    # MixBCT, ArcFace and synchronized BatchNormalization on real batches: the rows to mix are drawn
    # alike.
    one, two = (
        fit(built(RECIPE, data, strategy), batches_of(RECIPE, data, old, epochs=2), steps=5)
        for strategy in (None, two_replicas)
    )
    assert len(set(one["loss"])) == 5
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert (
        one["mixed_rows"] == two["mixed_rows"] == [2.0] * 5
    )  # floor(0.3 * 8), all rows credible or enough of them


@pytest.mark.parametrize("replicas", [1, 2])
def test_adaface_follows_new_embeddings_alone_where_old_ones_are_mixed_in(
    data, old, replicas, two_replicas
):
    strategy = two_replicas if replicas == 2 else None
    found = []
    for method in ("mixbct(mix_ratio=0.5)", "independent"):
        recipe = replace(RECIPE, head="adaface", method=method)
        model = built(recipe, data, strategy)
        fit(model, batches_of(recipe, data, old, epochs=1).take(1), steps=1)
        found.append((float(model.head.mean.numpy()), float(model.head.deviation.numpy())))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


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
    monkeypatch.setitem(METHODS, "pull", method_of_the_page())
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
    monkeypatch.setitem(METHODS, "pull", method_of_the_page())
    recipe = replace(RECIPE, method="pull", head="softmax", learning_rate=0.01, epochs=20)
    model = built(recipe, data)
    batches = batches_of(recipe, data, old, epochs=1).take(1).repeat()
    losses = fit(model, batches, steps=20)["loss"]
    assert losses[-1] < 0.8 * losses[0]


class Poison(Method):
    """Gives no number in its second step."""

    def penalty(self, new, labels, batch, head):
        return tf.where(batch["step"] == 1, np.nan, 0.0) * tf.reduce_sum(new, axis=1)


class PoisonedQueue(NCCL):
    """Gives no number in its second step, which has filled the queue all the same."""

    def penalty(self, new, labels, batch, head):
        return super().penalty(new, labels, batch, head) + tf.where(batch["step"] == 1, np.nan, 0.0)


def linear(image_size: int, dims: int) -> keras.Model:
    """Returns a backbone without BatchNorm, whose rows know nothing of each other."""
    image = keras.Input((image_size, image_size, 3))
    colour = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    return keras.Model(image, keras.layers.Dense(dims)(colour))


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("method", ["poison", "poisoned_queue(queue=12)"])
def test_a_step_that_is_no_number_changes_nothing_where_it_is_to_be_skipped(
    data, old, monkeypatch, method, replicas, two_replicas
):
    monkeypatch.setitem(METHODS, "poison", Poison)
    monkeypatch.setitem(METHODS, "poisoned_queue", PoisonedQueue)
    recipe = replace(RECIPE, method=method, on_nan="skip", learning_rate=0.01)
    model = built(recipe, data, two_replicas if replicas == 2 else None)
    batches = batches_of(recipe, data, old, epochs=1)
    first = fit(model, batches.take(1), steps=1)["loss"]
    layers = (model.backbone, model.head, model.method)
    before = [variable.numpy() for layer in layers for variable in layer.variables]
    dropped = fit(model, batches.skip(1).take(1), steps=1)["loss"]
    after = [variable.numpy() for layer in layers for variable in layer.variables]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.isfinite(first + dropped).all()
    assert (
        int(model.steps.numpy()),
        int(model.dropped.numpy()),
        int(model.optimizer.iterations.numpy()),
    ) == (2, 1, 1)
    fit(model, batches.skip(2).take(1), steps=1)
    assert any(
        np.any(one != variable.numpy())
        for one, variable in zip(before, model.backbone.variables, strict=False)
    )


def test_a_batch_in_pieces_has_the_gradient_of_the_whole(data, old, monkeypatch):
    monkeypatch.setitem(BACKBONES, "linear", linear)
    recipe = replace(RECIPE, backbone="linear", method="independent", learning_rate=1.0)
    whole, pieces = built(recipe, data), built(replace(recipe, micro_batches=4), data)
    losses = [
        fit(model, batches_of(recipe, data, old, epochs=1).take(1), steps=1)["loss"]
        for model in (whole, pieces)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for one, other in zip(whole.get_weights(), pieces.get_weights(), strict=True):
        # Weights of 2,000 lie beside weights of 0.4 that are differences of such.
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7 * np.abs(other).max())


def test_the_average_of_the_weights_follows_them(data, old):
    model = built(replace(RECIPE, average=0.2, learning_rate=0.01), data)
    expected = model.backbone.get_weights()
    # share = min(0.2, (1 + t) / (10 + t)) at t = 0, 1, 2: 1/10, 2/11, 0.2
    for step, share in enumerate((1 / 10, 2 / 11, 0.2)):
        fit(model, batches_of(RECIPE, data, old, epochs=1).skip(step).take(1), steps=1)
        after = model.backbone.get_weights()
        expected = [
            share * before + (1 - share) * now for before, now in zip(expected, after, strict=True)
        ]
        with model.averaged():
            averaged = model.backbone.get_weights()
        for wanted, average in zip(expected, averaged, strict=True):
            np.testing.assert_allclose(average, wanted, rtol=1e-5, atol=1e-7)
        for end, restored in zip(after, model.backbone.get_weights(), strict=True):
            np.testing.assert_array_equal(end, restored)


def test_the_average_forgets_the_first_weights(data, monkeypatch):
    monkeypatch.setitem(BACKBONES, "linear", linear)
    model = built(replace(RECIPE, backbone="linear", method="independent", average=0.999), data)
    weight, average = model.backbone.weights[0], model.averaging.averages[0]
    average.assign(tf.ones(average.shape))  # in the place of the random start
    weight.assign(tf.zeros(weight.shape))
    update = tf.function(model.averaging.update)
    for step in range(1025):
        model.steps.assign(step)
        update(model.steps)
    # 0.999^1025 would be 0.36; the product of (1 + t) / (10 + t) is 9! 1025! / 1034! = 2.8e-22.
    assert np.max(average) < 1e-20


class Gathered(Method):
    """Is rows of a weight by the labels, as an elastic boundary has.

    They are gathered, or made by a product with the same gradient.
    """

    def __init__(self, gathered: bool = True):
        super().__init__()
        self.gathered = gathered

    def build(self, input_shape=None):
        self.of_class = self.add_weight(name="of_class", shape=(1000, 1), initializer="ones")

    def penalty(self, new, labels, batch, head):
        if self.gathered:
            rows = tf.gather(self.of_class, labels)
        else:
            rows = tf.matmul(tf.one_hot(labels, 1000), tf.convert_to_tensor(self.of_class))
        return (rows[:, 0] - 3.0) ** 2


@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize("optimizer", ["adamw", "lamb", "sgd", "sgdw"])
def test_gathered_rows_learn_as_the_same_rows_of_a_product(
    data, old, monkeypatch, optimizer, micro_batches
):
    monkeypatch.setitem(BACKBONES, "linear", linear)
    monkeypatch.setitem(METHODS, "gathered", Gathered)
    found = []
    for gathered in (True, False):
        method = f"gathered(gathered={gathered})"
        recipe = replace(
            RECIPE,
            backbone="linear",
            method=method,
            optimizer=optimizer,
            micro_batches=micro_batches,
            learning_rate=0.1,
        )
        model = built(recipe, data)
        # One batch has several images of a class, whose rows come several times.
        fit(model, batches_of(recipe, data, old, epochs=1).take(4), steps=4)
        found.append(np.asarray(model.method.of_class))
    assert np.ptp(found[1]) > 0.01
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def regularised(image_size: int, dims: int) -> keras.Model:
    """Returns `linear` with two regularisers.

    They are 0.5 times the sum of squared weights, and 0.25 times the mean over the images of their
    squared lengths.
    """
    image = keras.Input((image_size, image_size, 3))
    colour = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    pulled: Any = {
        "kernel_regularizer": keras.regularizers.L2(0.5),
        "activity_regularizer": keras.regularizers.L2(0.25),
    }
    return keras.Model(image, keras.layers.Dense(dims, **pulled)(colour))


@pytest.mark.parametrize(
    ("options", "replicas"),
    [
        ({}, 1),
        ({"micro_batches": 4}, 1),
        ({}, 2),
        ({"precision": "mixed_float16"}, 1),
    ],
    ids=str,
)
def test_what_layers_add_to_the_loss_counts_once(
    data, old, monkeypatch, options, replicas, two_replicas
):
    monkeypatch.setitem(BACKBONES, "linear", linear)
    monkeypatch.setitem(BACKBONES, "regularised", regularised)
    strategy = two_replicas if replicas == 2 else None
    recipe = replace(
        RECIPE,
        method="independent",
        optimizer="sgd(momentum=0, l2=0)",
        learning_rate=0.01,
        epochs=1000,
    )
    recipe = replace(recipe, **options)
    plain, pulled = (
        built(replace(recipe, backbone=name), data, strategy if name == "regularised" else None)
        for name in ("linear", "regularised")
    )
    kernel, bias = start = plain.backbone.get_weights()
    pulled.backbone.set_weights(start)
    for one, other in zip(plain.head.weights, pulled.head.weights, strict=True):
        other.assign(one.numpy())
    if (
        "precision" in options
    ):  # at its first scale of 32,768 the gradient overflows, and the step is left out
        for model in (plain, pulled):
            model.optimizer.dynamic_scale.assign(16.0)
    batches = batches_of(recipe, data, old, epochs=1).take(1)
    ((batch, _),) = batches
    colours = np.mean(batch["image"].numpy() / 255, axis=(1, 2))
    embeddings = colours @ kernel + bias
    added = 0.5 * np.sum(kernel**2) + 0.25 * np.mean(np.sum(embeddings**2, axis=1))
    losses = [fit(model, batches, steps=1)["loss"][0] for model in (plain, pulled)]
    tolerance = 2e-3 if "precision" in options else 1e-5
    assert losses[1] - losses[0] == pytest.approx(added, rel=tolerance)
    # w -= rate gradient, with  d/dw = 2 * 0.5 w + 2 * 0.25 mean of x (x w + b)
    pull = kernel + 0.5 * colours.T @ embeddings / len(colours)
    difference = pulled.backbone.get_weights()[0] - plain.backbone.get_weights()[0]
    np.testing.assert_allclose(difference, -0.01 * pull, rtol=20 * tolerance, atol=0.05 * tolerance)


def test_what_replicas_cannot_do_is_said():
    with pytest.raises(
        InputError, match="batch_size=8 cannot be divided over 2 replicas and 3 micro-batches"
    ):
        replace(RECIPE, micro_batches=3).steps_per_epoch(records=64, replicas=2)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_the_encoder_of_a_run_in_16_bits_is_in_32(data, old, precision):
    recipe = replace(RECIPE, precision=precision)
    model = built(recipe, data)
    assert np.isfinite(fit(model, batches_of(recipe, data, old, epochs=1), steps=2)["loss"]).all()
    encoder = recipe.build_encoder(model, data.image_size)
    assert {layer.compute_dtype for layer in encoder.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    for one, other in zip(encoder.get_weights(), model.backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_the_backbone_is_called_without_training(data):
    model = built(RECIPE, data)
    images = tf.zeros((2, 28, 28, 3), tf.uint8)
    np.testing.assert_array_equal(model({"image": images}), model.backbone(images, training=False))


def test_same_seed_same_start_and_another_seed_another(data):
    first, again, other = (
        built(replace(RECIPE, seed=seed), data).get_weights() for seed in (3, 3, 4)
    )
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert any(np.any(one != two) for one, two in zip(first, other, strict=True))


def test_a_backbone_that_is_no_model_is_refused():
    with pytest.raises(
        InputError,
        match=r"^'os:getcwd' is not called, because it does not say that it makes a Model:",
    ):
        replace(RECIPE, backbone="os:getcwd").build_backbone(28)


def test_a_schedule_of_another_kind_is_refused(data):
    with pytest.raises(
        InputError,
        match=r"^'os:getcwd' is not called, because it does not say that it makes a LearningRate",
    ):
        built(replace(RECIPE, schedule="os:getcwd"), data)
