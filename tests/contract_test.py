"""Every entry of the registries goes through the same checks; a new one is checked as soon as it
has its line.
"""

import zipfile
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_backbones import linear

from bct_keras import specs
from bct_keras.backbones import BACKBONES, iresnet, vit
from bct_keras.callbacks.checkpoints import Checkpoints
from bct_keras.data.dataset import open_data_set
from bct_keras.data.embeddings import open_embeddings
from bct_keras.embed.class_store import StoredOldEmbeddings
from bct_keras.embed.credible import with_fields
from bct_keras.embed.run import embed
from bct_keras.encoders import load_encoder
from bct_keras.heads import HEADS
from bct_keras.methods import METHODS
from bct_keras.methods.method import Training
from bct_keras.models import CompatibleModel
from bct_keras.train import old_head
from bct_keras.train.input import training_batches
from bct_keras.train.recipe import Recipe

pytestmark = pytest.mark.seconds(55)

BATCH, CLASSES, DIMS = 8, 6, 8  # as many classes as the view `new` of the fixture data_root has
# Small, because PReLU's slope jumps at 0: where two replicas round an activation to its other side,
# the next weights differ by the rate times a finite gradient. A gradient twice too large would
# still show a hundred times over.
LEARNING_RATE = 1e-4
SMALLEST = "iresnet_small(width=4)"
LINEAR = "linear"  # the least that can be trained, where only the method or the head matters
# Of the same functions as the real ones, which are trained by `long` tests, with as few blocks as
# have every layer.
SHALLOW = ["shallow_iresnet", "shallow_vit"]
# Where the entry's own defaults would be slow. The deeper ones are the same functions as iresnet18
# and vit_tiny.
SPECS: dict[str, str] = {
    "iresnet_small": SMALLEST,
    "unibct": "unibct(refresh_epochs=(0,), prototypes=refined)",
    "vit_tiny": "vit_tiny(drop_path=0.0)",  # what is left out is drawn anew for each replica
    "applications": "applications(name=MobileNetV3Small)",
}
NOT_TRAINED_HERE = {"iresnet34", "iresnet50", "iresnet100", "iresnet200", "vit_small", "vit_base"}
TRAINING = Training(CLASSES, DIMS, epochs=1, steps=10)
TRAINED = [name for name in BACKBONES if name not in NOT_TRAINED_HERE]
REAL = {SPECS.get(name, name) for name in TRAINED}


@dataclass(frozen=True)
class Parts:
    method: str = "independent"
    head: str = "arcface"
    backbone: str = LINEAR

    def __str__(self):
        return f"{self.method}-{self.head}-{self.backbone}"

    @property
    def image_size(self) -> int:
        return 28 if self.backbone in (LINEAR, SMALLEST) else 32

    def recipe(self) -> Recipe:
        return Recipe(
            backbone=self.backbone,
            dims=DIMS,
            head=self.head,
            method=self.method,
            optimizer="sgd",
            schedule="cosine",
            learning_rate=LEARNING_RATE,
            batch_size=BATCH,
            epochs=1,
            mirror=False,
            seed=0,
        )


EACH_ENTRY = [
    pytest.param(parts, id=str(parts), marks=pytest.mark.long if parts.backbone in REAL else [])
    for parts in dict.fromkeys(
        [
            *(Parts(method=SPECS.get(name, name)) for name in METHODS),
            *(Parts(head=name) for name in HEADS),
            *(Parts(backbone=SPECS.get(name, name)) for name in TRAINED),
            *(Parts(backbone=name) for name in SHALLOW),
            # The same with BatchNorm between the method and the images.
            *(Parts(method=SPECS.get(name, name), backbone=SMALLEST) for name in METHODS),
        ]
    )
]


def shallow_iresnet(image_size: int, dims: int) -> keras.Model:
    return iresnet.iresnet(
        image_size, dims, depths=(2,), widths=(8,), dropout=0.0, name="shallow_iresnet"
    )


def shallow_vit(image_size: int, dims: int) -> keras.Model:
    return vit.vit(image_size, dims, width=64, depth=2, drop_path=0.0, name="shallow_vit")


@pytest.fixture(autouse=True)
def small_backbones(monkeypatch):
    for build in (linear, shallow_iresnet, shallow_vit):
        monkeypatch.setitem(BACKBONES, build.__name__, build)


def images(size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), np.uint8)


def labels() -> np.ndarray:
    return np.arange(BATCH) % CLASSES


def fields(needs: tuple[str, ...]) -> dict[str, np.ndarray]:
    """What embedding shards hold for a batch: those that the method needs, and no other."""
    old = np.random.default_rng(1).normal(size=(BATCH, DIMS)).astype(np.float32)
    credible = (np.arange(BATCH) != 2).astype(np.float32)
    every = {"old_embedding": old, "credible": credible, "credible_rows_then_columns": 1 - credible}
    return {name: every[name] for name in needs}


@pytest.fixture(scope="module")
def stored(data_root, tiny_encoder_path, tmp_path_factory) -> StoredOldEmbeddings:
    """What a method may ask, of images of the old encoder's own size; its head lies beside it, as a
    run leaves it.
    """
    data, path = open_data_set(data_root / "new"), tiny_encoder_path(DIMS)
    np.savez(
        path.parent / "head.npz",
        class_weights=np.eye(3, DIMS, dtype=np.float32),
        bias=np.zeros(3, np.float32),
    )
    embedded = tmp_path_factory.mktemp("embedded") / "new"
    embed(load_encoder(path), data, embedded)
    return old_head.source(open_embeddings(embedded, data))


def after_one_step(
    parts: Parts, strategy: tf.distribute.Strategy, stored: StoredOldEmbeddings
) -> tuple[float, list[np.ndarray], list[np.ndarray]]:
    """The loss, and all weights before and after."""
    with strategy.scope():
        method = parts.recipe().build_method()
        method.prepare(stored, TRAINING)
        model = parts.recipe().build_model(parts.image_size, CLASSES, steps=10, method=method)
    before = model.get_weights()
    batch: Any = ({"image": images(parts.image_size), **fields(method.needs)}, labels())
    batches = tf.data.Dataset.from_tensor_slices(batch).batch(BATCH, drop_remainder=True)
    history = model.fit(batches, epochs=1, shuffle=False, verbose=0)  # pyright: ignore
    return history.history["loss"][0], before, model.get_weights()


@pytest.fixture
def mixed_bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.long
@pytest.mark.parametrize("parts", EACH_ENTRY)
def test_two_replicas_train_as_one_does(parts, two_replicas, stored):
    loss, before, after = after_one_step(parts, tf.distribute.get_strategy(), stored)
    assert np.isfinite(loss)
    assert any(np.any(old != new) for old, new in zip(before, after, strict=True))
    loss_of_two, _, after_of_two = after_one_step(parts, two_replicas, stored)
    assert loss_of_two == pytest.approx(loss, rel=1e-5)
    # oneDNN adds up a gradient in another order for half a batch, and a channel of little variance
    # makes more of that where it is normalised: of 2,304 weights of a depthwise convolution 3 were
    # off by up to 2.3e-4.
    for weights, weights_of_two in zip(after, after_of_two, strict=True):
        off = np.abs(weights_of_two - weights) - 1e-5 * np.abs(weights)
        assert np.mean(off > 4e-5) < 0.01
        assert np.max(off) < 1e-3


@pytest.mark.parametrize("parts", EACH_ENTRY)
@pytest.mark.usefixtures("mixed_bfloat16")
def test_a_step_in_mixed_precision(parts, stored):
    loss, before, after = after_one_step(parts, tf.distribute.get_strategy(), stored)
    assert np.isfinite(loss)
    kinds = {weights.dtype for weights in after if weights.dtype.kind not in "iu"}
    assert kinds == {np.dtype(np.float32)}
    assert all(np.isfinite(weights).all() for weights in after)
    assert any(np.any(old != new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_method_gives_a_row_to_the_head_and_a_penalty_for_every_example(name, stored):
    method = specs.build(METHODS, SPECS.get(str(name), str(name)), seed=0)
    head = specs.build(HEADS, "arcface", classes=CLASSES)
    method.prepare(stored, TRAINING)
    method.build((None, DIMS))
    head.build((None, DIMS))
    batch = {field: tf.constant(values) for field, values in fields(method.needs).items()}
    batch["step"] = tf.constant(0, tf.int64)
    new = tf.random.stateless_normal((BATCH, DIMS), (1, 2))
    head_input = method.head_input(new, batch)
    assert (head_input.shape, head_input.dtype) == ((BATCH, DIMS), tf.float32)
    penalty = method.penalty(new, tf.constant(labels(), tf.int32), batch, head)
    assert (penalty.shape, penalty.dtype) == ((BATCH,), tf.float32)
    assert np.isfinite(penalty).all()


@pytest.mark.long
@pytest.mark.parametrize("name", METHODS)
def test_method_is_the_same_compiled_by_xla(name, stored):
    def loss_and_gradient(jit: bool):
        keras.utils.set_random_seed(0)
        method = specs.build(METHODS, SPECS.get(str(name), str(name)), seed=0)
        head = specs.build(HEADS, "arcface", classes=CLASSES)
        method.prepare(stored, TRAINING)
        method.build((None, DIMS))
        head.build((None, DIMS))
        batch = {field: tf.constant(values) for field, values in fields(method.needs).items()}

        @tf.function(jit_compile=jit)
        def run(new):
            given = {**batch, "step": tf.constant(5, tf.int64)}
            with tf.GradientTape() as tape:
                tape.watch(new)
                known = tf.constant(labels(), tf.int32)
                loss = head(method.head_input(new, given), known) + method.penalty(
                    new, known, given, head
                )
            return loss, tape.gradient(loss, new)

        return run(tf.random.stateless_normal((BATCH, DIMS), (1, 2)))

    for compiled, plain in zip(loss_and_gradient(True), loss_and_gradient(False), strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_method_reads_only_the_fields_it_needs(name, stored):
    needs = specs.build(METHODS, name, seed=0).needs
    shards = with_fields(stored.shards, needs)
    batches = training_batches(
        shards.data, shards, needs, BATCH, seed=0, first_step=0, epochs=1, mirror=False
    )
    spec: Any = batches.element_spec
    given, _ = spec
    assert set(given) == {"image", *needs}


def with_method(name: str, stored: StoredOldEmbeddings) -> CompatibleModel:
    recipe = Parts(method=SPECS.get(name, name)).recipe()
    method = recipe.build_method()
    method.prepare(stored, TRAINING)
    return recipe.build_model(28, CLASSES, steps=3, method=method)


def fit(model: CompatibleModel, steps: range, *callbacks: keras.callbacks.Callback) -> None:
    """Each step sees the half of the images that the one before has not seen, as an epoch of its
    own.
    """
    batch: Any = ({"image": images(28), **fields(model.method.needs)}, labels())
    half = BATCH // 2
    model.fit(
        tf.data.Dataset.from_tensor_slices(batch).repeat().skip(half * steps.start).batch(half),
        initial_epoch=steps.start,
        epochs=steps.stop,
        steps_per_epoch=1,
        shuffle=False,
        verbose=0,  # pyright: ignore[reportArgumentType]
        callbacks=list(callbacks),
    )


@pytest.mark.parametrize("name", METHODS)
def test_method_goes_on_from_a_checkpoint_bit_for_bit(name, stored, tmp_path):
    unbroken, resumed = (with_method(str(name), stored) for _ in range(2))
    fit(unbroken, range(2), Checkpoints(unbroken, tmp_path, steps_per_epoch=1))
    fit(unbroken, range(2, 3))
    ours, theirs = ([*model.variables, *model.optimizer.variables] for model in (resumed, unbroken))
    for variable in ours:
        variable.assign(tf.ones_like(variable))  # one that no checkpoint holds would stand out
    assert Checkpoints(resumed, tmp_path, steps_per_epoch=1).restore() == 2
    fit(resumed, range(2, 3))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


@pytest.mark.parametrize("name", HEADS)
def test_head_gives_a_loss_for_every_example(name):
    head = specs.build(HEADS, name, classes=CLASSES)
    losses = head(
        tf.random.stateless_normal((BATCH, DIMS), (1, 2)), tf.constant(labels(), tf.int32)
    )
    assert (losses.shape, losses.dtype) == ((BATCH,), tf.float32)
    assert np.isfinite(losses).all()
    assert np.all(losses >= 0)


@pytest.mark.parametrize("name", TRAINED)
def test_backbone_saves_and_loads(name: str, tmp_path):
    parts = Parts(backbone=SPECS.get(name, name))
    model = specs.build(BACKBONES, parts.backbone, image_size=parts.image_size, dims=DIMS)
    embeddings = model(images(parts.image_size), training=False)
    assert (embeddings.shape, embeddings.dtype) == ((BATCH, DIMS), tf.float32)
    model.save(tmp_path / "encoder.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "encoder.keras", safe_mode=True)
    np.testing.assert_allclose(
        loaded(images(parts.image_size), training=False), embeddings, rtol=1e-6
    )
    # Its layers are Keras's own: the file can be read where this package is not.
    with zipfile.ZipFile(tmp_path / "encoder.keras") as file:
        assert b"bct_keras" not in file.read("config.json")
    clone: Any = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(images(parts.image_size), training=False), embeddings)
