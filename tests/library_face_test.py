"""Tests the library as a Keras user meets it: arrays in, Keras's own fit, no folder and no flag.

Every case but the first, which is the script of design.md itself, is that script with a tiny
backbone and other parts: a step takes no time, and tracing it is what is left.
"""

import json
import zipfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import bct_keras as bct
from bct_keras.heads import HEADS
from bct_keras.methods import METHODS

IMAGES, CLASSES, OLD_DIMS, DIMS, BATCH = 24, 4, 5, 6, 8
RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (IMAGES, 8, 8, 3), np.uint8)
LABELS = np.arange(IMAGES) % CLASSES
OLD = RANDOM.normal(size=(IMAGES, OLD_DIMS)).astype(np.float32)
# Where the defaults would look at nothing in two epochs, or at little
METHOD_OPTIONS: dict[str, dict[str, Any]] = {
    "unibct": {"refresh_epochs": (0, 1), "prototypes": "refined"},
    "nccl": {"queue": 20, "beta": 0.01},
    "gallerycontrast": {"queue": 20},
    "mixbct": {"mix_ratio": 0.5, "seed": 3},
    "ract": {"loss": "triplet"},
}
TABLES = {
    "arcface of some classes": lambda: bct.heads.ArcFace(CLASSES, sample_rate=1.0, sharded=True),
    "adaface of some classes": lambda: bct.heads.AdaFace(CLASSES, sample_rate=0.99),
}
PARTS = [(name, "arcface") for name in METHODS]
# Every head is trained in the first lane too, by contract_test; here behind the whole script.
PARTS += [
    pytest.param("mixbct", name, marks=pytest.mark.long)
    for name in [*HEADS, *TABLES]
    if name != "arcface"
]


def old_embeddings(**given: Any) -> bct.OldEmbeddings:
    classifier = RANDOM.normal(size=(CLASSES, OLD_DIMS))
    return bct.OldEmbeddings(OLD, LABELS, **{"classifier": classifier, **given})


def images() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((PIXELS, LABELS))


def backbone(dims: int = DIMS, norm: bool = True, **dense: Any) -> keras.Model:
    image = keras.Input((8, 8, 3))
    pixels = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    embedding = keras.layers.Dense(dims, **dense)(pixels)
    return keras.Model(image, keras.layers.BatchNormalization()(embedding) if norm else embedding)


def head_named(name: str) -> Any:
    return TABLES[name]() if name in TABLES else HEADS[name](classes=CLASSES)


def method_named(name: str) -> Any:
    return METHODS[name](**METHOD_OPTIONS.get(name, {}))


def made(
    method: str = "mixbct", head: str = "arcface", encoder: keras.Model | None = None, **options
) -> Any:
    return bct.CompatibleModel(
        encoder or backbone(), head_named(head), method_named(method), **options
    )


def compiled(
    method: str = "mixbct", head: str = "arcface", optimizer: Any = "adamw", **options
) -> Any:
    keras.utils.set_random_seed(0)
    model = made(method, head)
    old = old_embeddings()
    old.with_images(images())  # for UniBCT, which embeds them
    model.compile(optimizer=optimizer, old=old, **options)
    return model


def without_norm(method: str, head: str = "arcface", optimizer: Any = "sgd", **dense: Any) -> Any:
    """Returns a compiled model with a backbone whose rows know nothing of each other."""
    keras.utils.set_random_seed(0)
    model = made(method, head, backbone(norm=False, **dense))
    model.compile(optimizer, old_embeddings())
    return model


def fit(model: Any, epochs: int = 1, **options) -> dict[str, list[float]]:
    pairs = old_embeddings().with_images(images()).batch(BATCH)
    return model.fit(pairs, epochs=epochs, verbose=0, shuffle=False, **options).history


def evaluated(model: Any) -> dict[str, float]:
    pairs = old_embeddings().with_images(images()).batch(BATCH)
    return model.evaluate(pairs, verbose=0, return_dict=True)


def state(model: Any) -> dict[str, np.ndarray]:
    """Returns everything that the next step depends on."""
    found = {
        f"variable {index}": variable.numpy() for index, variable in enumerate(model.variables)
    }
    found |= {
        f"slot {index}": variable.numpy()
        for index, variable in enumerate(model.optimizer.variables)
    }
    table = {} if model.head.table is None else model.head.table.to_checkpoint()
    return found | {f"table {name}": values.numpy() for name, values in table.items()}


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.filterwarnings("ignore:.*shuffle=True:UserWarning")  # Keras's own, of data sets
def test_the_script_of_the_design_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = np.arange(600) % 300
    people = RANDOM.normal(size=(300, 32))[labels]
    old_embeddings = old_emb = people + 0.8 * RANDOM.normal(size=people.shape)
    new_emb = people + 0.1 * RANDOM.normal(size=people.shape)
    images = RANDOM.integers(0, 256, (600, 8, 8, 3), np.uint8)
    images_dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    scores = new_emb[:50] @ old_emb[300:350].T
    same = labels[:50, None] == labels[None, 300:350]
    backbone = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(32)]
    )

    old = bct.OldEmbeddings(old_embeddings, labels, classifier=None)
    pairs = old.with_images(images_dataset)
    model = bct.CompatibleModel(backbone, bct.heads.ArcFace(classes=1000), bct.methods.MixBCT())
    model.compile(optimizer="adamw", old=old)
    model.fit(pairs.batch(64), validation_data=pairs.batch(64), epochs=5)  # pyright: ignore
    embeddings = model.encoder.predict(images)
    model.encoder.save("new.keras")
    model.save("model.keras")
    keras.saving.load_model("model.keras")

    result = bct.compare(old=old_emb, new=new_emb, labels=labels, gallery_share=0.5)
    bct.metrics.tar_at_far(scores, same, far=1e-3)

    assert embeddings.shape == (600, 32)
    assert result.verdict.word == "compatible"
    assert {"metric", "gain", "interval", "word"} <= result.table()[0].keys()
    result.save("report")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model.keras",
        "new.keras",
        "report",
    ]


def test_tar_at_far_is_a_function_of_arrays():
    # One of five impostors exceeds 0.7, and two of three genuine pairs do.
    scores = np.array([0.9, 0.8, 0.3, 0.75, 0.7, 0.2, 0.1, 0.0])
    same = np.array([True] * 3 + [False] * 5)
    assert bct.metrics.tar_at_far(scores, same, far=0.2) == pytest.approx(2 / 3)
    assert bct.metrics.tar_at_far(scores, same) == pytest.approx(2 / 3)  # above 0.75: no impostor


@pytest.mark.long
@pytest.mark.parametrize(("method", "head"), PARTS)
def test_every_part_goes_through_the_script(method, head, tmp_path):
    old = old_embeddings()
    pairs = old.with_images(images())
    model = made(method, head)
    model.compile(optimizer="adamw", old=old)
    before = state(model)
    history = model.fit(
        pairs.batch(BATCH), validation_data=pairs.batch(BATCH), epochs=2, verbose=0
    ).history
    assert np.isfinite([*history["loss"], *history["val_loss"]]).all()
    assert any(np.any(values != before[name]) for name, values in state(model).items())
    embeddings = tf.nest.flatten(model.encoder(PIXELS, training=False))

    model.save(tmp_path / "model.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "model.keras")
    assert_equal(state(loaded), state(model))
    np.testing.assert_array_equal(loaded(PIXELS), embeddings[0])
    loaded_embeddings = tf.nest.flatten(loaded.encoder(PIXELS, training=False))
    for found, expected in zip(loaded_embeddings, embeddings, strict=True):
        np.testing.assert_array_equal(found, expected)
    # Both go on alike: so the loss is the same, and so is all that the step leaves.
    assert fit_on(loaded, old, pairs) == fit_on(model, old, pairs)
    assert_equal(state(loaded), state(model))


def fit_on(model: Any, old: bct.OldEmbeddings, pairs: tf.data.Dataset) -> dict[str, list[float]]:
    if isinstance(model.method, bct.methods.UniBCT):
        model.method.old = old  # a file does not hold them; both refreshes are done
    options: dict[str, Any] = {"initial_epoch": 2, "epochs": 3, "verbose": 0}
    return model.fit(pairs.batch(BATCH), **options).history


def test_the_encoder_is_a_file_that_needs_nothing_of_ours(tmp_path):
    model = compiled()
    model.encoder.save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as file:
        assert "bct_keras" not in file.read("config.json").decode()
    loaded: Any = keras.saving.load_model(tmp_path / "new.keras")
    np.testing.assert_array_equal(loaded(PIXELS), model.encoder(PIXELS, training=False))


def test_what_is_saved_has_registered_names(tmp_path):
    model = compiled()
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        config = json.loads(file.read("config.json"))
    named = [
        config["registered_name"],
        *(config["config"][part]["registered_name"] for part in ("head", "method")),
    ]
    assert named == ["bct_keras>CompatibleModel", "bct_keras>ArcFace", "bct_keras>MixBCT"]


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("gallerycontrast", "adaface"),
        ("nccl", "magface"),
        ("advbct", "arcface"),
        ("unibct", "softmax"),
    ],
)
def test_a_test_leaves_every_bit_as_it_was(method, head):
    model = compiled(method, head)
    fit(model, epochs=2)
    before = state(model)
    assert evaluated(model) == evaluated(model)
    assert_equal(state(model), before)


def test_validation_changes_nothing_in_the_training():
    watched, unwatched = (compiled("gallerycontrast", "adaface") for _ in range(2))
    pairs = old_embeddings().with_images(images()).batch(BATCH)
    assert fit(watched, epochs=2, validation_data=pairs)["loss"] == fit(unwatched, epochs=2)["loss"]
    assert_equal(state(watched), state(unwatched))


def test_two_replicas_train_and_test_as_one_does(two_replicas, tmp_path):
    one = without_norm("gallerycontrast", "adaface")
    with two_replicas.scope():
        two = without_norm("gallerycontrast", "adaface")
    pairs = old_embeddings().with_images(images()).batch(BATCH)
    expected, found = (fit(model, epochs=2, validation_data=pairs) for model in (one, two))
    for name in ("loss", "val_loss"):
        assert found[name] == pytest.approx(expected[name], rel=1e-5)
    before = state(two)
    evaluated(two)
    assert_equal(state(two), before)
    two.save(tmp_path / "two.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "two.keras")
    assert_equal(state(loaded), before)


@pytest.fixture(params=["mixed_bfloat16", "mixed_float16"])
def precision(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


def test_mixed_precision(precision, tmp_path):
    model = compiled("gallerycontrast")
    scales = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scales == (precision == "mixed_float16")
    assert np.isfinite(fit(model, epochs=2)["loss"]).all()
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}
    model.save(tmp_path / "model.keras")
    keras.config.set_dtype_policy("float32")  # of the session that loads it
    loaded: Any = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is type(model.optimizer)
    assert_equal(state(loaded), state(model))
    np.testing.assert_array_equal(loaded(PIXELS), model(PIXELS))


def optimizers() -> dict[str, tuple[Any, type]]:
    """Returns what is given, and what trains."""
    return {
        "a name of ours": ("sgd", bct.optimizers.SGD),
        "a name of Keras's": ("rmsprop", keras.optimizers.RMSprop),
        "an object": (keras.optimizers.Adam(0.01), keras.optimizers.Adam),
        "one that scales the loss": (
            keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01), initial_scale=16.0),
            keras.optimizers.LossScaleOptimizer,
        ),
    }


@pytest.mark.parametrize("given", optimizers())
def test_any_optimizer_trains(given):
    optimizer, kind = optimizers()[given]
    model = compiled(optimizer=optimizer)
    assert type(model.optimizer) is kind
    before = model.get_weights()
    assert np.isfinite(fit(model)["loss"]).all()
    assert any(np.any(one != other) for one, other in zip(before, model.get_weights(), strict=True))


def test_the_whole_step_is_compiled_by_xla_only_where_that_is_asked_for():
    assert not compiled().jit_compile
    assert compiled(jit_compile=True).jit_compile


def test_another_optimizer_may_follow():
    model = compiled(head="adaface of some classes")
    fit(model)
    queue = model.get_weights()
    model.compile("sgd")  # the method knows the old embeddings already
    assert model.head.table.slots == ["momentum"]
    assert all(
        np.array_equal(one, other) for one, other in zip(queue, model.get_weights(), strict=True)
    )
    assert np.isfinite(fit(model)["loss"]).all()


def test_what_layers_add_counts_in_training_and_in_a_test():
    pulled: Any = {"kernel_regularizer": keras.regularizers.L2(0.5)}
    model = without_norm("independent", optimizer=keras.optimizers.SGD(0.0), **pulled)
    added = 0.5 * np.sum(np.square(model.encoder.get_weights()[0]))
    expected = np.mean(losses_of_examples(model)) + added
    assert evaluated(model)["loss"] == pytest.approx(expected, rel=1e-5)
    assert fit(model)["loss"] == [pytest.approx(expected, rel=1e-5)]


def losses_of_examples(model: Any) -> np.ndarray:
    """Returns the head's losses [images], which are all there is without a method."""
    new = model.encoder(PIXELS, training=False)
    return model.head(new, tf.constant(LABELS, tf.int32)).numpy()


def test_sample_weights_weigh_the_loss_of_each_example():
    model = without_norm("independent", optimizer=keras.optimizers.SGD(0.0))
    each, weights = losses_of_examples(model), RANDOM.uniform(0, 2, IMAGES).astype(np.float32)
    expected = np.mean(
        weights * each
    )  # as Keras has it: over the number of examples, not the sum of the weights
    assert abs(expected - np.mean(each)) > 0.1
    given: dict[str, Any] = {"sample_weight": weights, "batch_size": BATCH, "verbose": 0}
    assert model.evaluate(PIXELS, LABELS, **given) == pytest.approx(expected, rel=1e-5)
    assert model.fit(PIXELS, LABELS, **given).history["loss"] == [pytest.approx(expected, rel=1e-5)]


def test_class_weights_weigh_the_loss_of_each_class():
    model = without_norm("independent", optimizer=keras.optimizers.SGD(0.0))
    expected = np.mean(np.where(LABELS == 2, 3.0, 1.0) * losses_of_examples(model))
    weights: Any = {0: 1.0, 1: 1.0, 2: 3.0, 3: 1.0}
    history = model.fit(PIXELS, LABELS, class_weight=weights, batch_size=BATCH, verbose=0).history
    assert history["loss"] == [pytest.approx(expected, rel=1e-5)]


def test_metrics_see_the_scores_of_the_head():
    model = compiled("gallerycontrast", metrics=["accuracy"])
    history = fit(model, validation_data=old_embeddings().with_images(images()).batch(BATCH))
    new = model.encoder(PIXELS, training=False).numpy()
    unit = [
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (new, model.head.class_weights.numpy())
    ]
    right = np.mean(np.argmax(unit[0] @ unit[1].T, axis=1) == LABELS)
    assert history["val_accuracy"] == [pytest.approx(right)]
    assert 0 <= history["accuracy"][0] <= 1


def test_metrics_of_a_head_that_has_no_scores_are_refused():
    with pytest.raises(
        bct.InputError,
        match=r"^metrics need the scores of all classes, which a head with sample_rate",
    ):
        compiled(head="adaface of some classes", metrics=["accuracy"])


@pytest.mark.parametrize("listed", [False, True])
def test_early_stopping_ends_the_training(listed):
    model = compiled(optimizer=keras.optimizers.SGD(0.0), method="l2")
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=1, min_delta=10**9)
    pairs = old_embeddings().with_images(images()).batch(BATCH)
    callbacks: Any = [stopping]
    if listed:
        callbacks = keras.callbacks.CallbackList(
            [stopping], add_history=True, model=model, epochs=9, steps=3
        )
    assert len(fit(model, epochs=9, validation_data=pairs, callbacks=callbacks)["val_loss"]) == 2


def test_arrays_train_as_a_data_set_does():
    first, second = compiled(), compiled()
    arrays = {"image": PIXELS, **old_embeddings().fields}
    history: Any = second.fit(arrays, LABELS, batch_size=BATCH, shuffle=False, verbose=0).history
    assert history == fit(first)
    assert_equal(state(first), state(second))


def test_images_and_batches_are_embedded_alike():
    model = compiled()
    embeddings = model.encoder.predict(PIXELS, verbose=0)
    pairs = old_embeddings().with_images(images()).batch(BATCH)
    for given in (PIXELS, {"image": PIXELS}, pairs):
        np.testing.assert_array_equal(model.predict(given, batch_size=BATCH, verbose=0), embeddings)


@pytest.mark.parametrize("method", ["bct", "mixbct"])
def test_a_clone_is_the_same_with_the_same_weights(method):
    model = compiled(method)
    fit(model)
    clone: Any = keras.models.clone_model(model)
    assert clone.get_config() == model.get_config()
    assert any(
        np.any(one != other)
        for one, other in zip(clone.get_weights(), model.get_weights(), strict=True)
    )
    clone.set_weights(model.get_weights())
    assert evaluated(clone) == evaluated(model)


def test_a_clone_without_weights_says_that_it_has_seen_no_old_embeddings():
    clone: Any = keras.models.clone_model(compiled("bct"))
    with pytest.raises(
        bct.InputError,
        match=r"^the method BCT of this copy has not seen the old embeddings: compile",
    ):
        fit(clone)
    clone.compile("adamw", old_embeddings())
    assert np.isfinite(fit(clone)["loss"]).all()


@pytest.mark.parametrize("kind", ["subclassed", "sequential"])
def test_backbones_that_are_no_functional_model(kind):
    if kind == "sequential":
        encoder = keras.Sequential(
            [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(DIMS)]
        )
        model = made(encoder=encoder)
        model.compile("adamw", old_embeddings())
        assert np.isfinite(fit(model)["loss"]).all()
    else:
        with pytest.raises(
            bct.InputError, match=r"^the backbone does not tell the shape of its output"
        ):
            made(encoder=keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(DIMS)]))


@pytest.mark.long
def test_a_backbone_of_keras_applications(tmp_path):
    random: Any = None
    encoder = keras.applications.MobileNetV3Small(
        weights=random,
        include_top=False,
        pooling="avg",
        input_shape=(32, 32, 3),
        include_preprocessing=True,
    )
    large = np.repeat(np.repeat(PIXELS, 4, axis=1), 4, axis=2)
    old = old_embeddings()
    model = bct.CompatibleModel(encoder, bct.heads.ArcFace(CLASSES), bct.methods.MixBCT())
    model.compile("adamw", old)
    pairs = old.with_images(tf.data.Dataset.from_tensor_slices((large, LABELS)))
    assert np.isfinite(model.fit(pairs.batch(BATCH), verbose=0).history["loss"]).all()
    model.save(tmp_path / "model.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(large), model(large), rtol=1e-5, atol=1e-6)


def with_other_label() -> tf.data.Dataset:
    labels = LABELS.copy()
    labels[9] = 3  # it is 1
    return tf.data.Dataset.from_tensor_slices((PIXELS, labels))


def of_unknown_length(count: int) -> tf.data.Dataset:
    return images().repeat(2).take(count).filter(lambda *row: True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            with_other_label,
            (
                r"^row 9 has the label 3 with its image and 1 with its old embedding: the images"
                r" have to"
            ),
        ),
        (
            lambda: of_unknown_length(20),
            r"^there are 24 old embeddings and only 20 images, and each needs the other$",
        ),
    ],
)
def test_images_that_are_not_those_of_the_embeddings_are_told_in_fit(given: Callable, said):
    old = old_embeddings()
    model = compiled("l2")
    with pytest.raises(bct.InputError, match=said):
        model.fit(old.with_images(given()).batch(BATCH), verbose=0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            lambda: images().take(20),
            r"^there are 20 images and 24 old embeddings, and each needs the other$",
        ),
        (
            lambda: images().batch(8),
            r"shape \(None,\), and each has to be one whole number\nCall with_images before",
        ),
        (
            lambda: images().repeat(),
            r"^the images repeat without end: call with_images before repeat\(\)$",
        ),
        (
            lambda: images().map(lambda image, label: image),
            r"^with_images takes a tf.data.Dataset of \(image, label\)",
        ),
    ],
)
def test_images_that_cannot_be_those_of_the_embeddings_are_told_at_once(given: Callable, said):
    with pytest.raises(bct.InputError, match=said):
        old_embeddings().with_images(given())


@pytest.mark.parametrize(
    ("embeddings", "labels", "classifier", "said"),
    [
        (
            OLD[0],
            LABELS,
            None,
            r"^old_embeddings have to be numbers, \[n, dims\], and these are float32 \[5\]$",
        ),
        (
            np.full((2, 3), np.nan),
            [0, 1],
            None,
            r"^the old embedding of row 0 is not a finite number, of 2 row\(s\)",
        ),
        (
            OLD,
            LABELS[:3],
            None,
            r"^labels have to be \[24\], one for each old embedding, and these are \[3\]$",
        ),
        (OLD, LABELS / 2, None, r"^labels have to be whole numbers, and these are float64$"),
        (OLD, LABELS - 1, None, r"^labels count from 0, and row 0 has -1$"),
        (
            OLD,
            LABELS,
            OLD[:, :2],
            r"^classifier has to be the old class weights \[old classes, 5\], or these and a ",
        ),
        (
            OLD,
            LABELS,
            (OLD, [0.0]),
            r"^the classifier's bias has to have one number for each of 24 classes$",
        ),
    ],
)
def test_arrays_that_are_no_old_embeddings_are_told(embeddings, labels, classifier, said):
    with pytest.raises(bct.InputError, match=said):
        bct.OldEmbeddings(embeddings, labels, classifier)


def compile_with(
    method: str = "mixbct", old: Any = None, classes: int = CLASSES, dims: int = DIMS, **options
) -> None:
    model = bct.CompatibleModel(backbone(dims), bct.heads.ArcFace(classes), method_named(method))
    model.compile("adamw", old, **options)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            lambda: compile_with(),
            r"^the method MixBCT needs the old embeddings: compile\(optimizer, old=OldEmbeddings",
        ),
        (
            lambda: compile_with(old=OLD),
            r"^old has to be OldEmbeddings\(old_embeddings, labels\), and it is a ndarray",
        ),
        (
            lambda: compile_with(old=old_embeddings(), dims=3),
            r"^the old embeddings have 5 dimensions and the backbone",
        ),
        (
            lambda: compile_with(old=old_embeddings(), classes=3),
            r"^a label of the old embeddings is 3, and the head ha",
        ),
        (
            lambda: compile_with("lwf", old_embeddings(classifier=None)),
            r"^this method needs the old encoder's head: ",
        ),
        (
            lambda: compile_with(loss="mse", old=old_embeddings()),
            r"^the loss of a CompatibleModel is its head's and",
        ),
    ],
)
def test_parts_that_do_not_fit_together_are_told_before_a_step(given: Callable, said):
    with pytest.raises(bct.InputError, match=said):
        given()


def test_a_backbone_that_gives_no_vector_is_told():
    image = keras.Input((8, 8, 3))
    with pytest.raises(
        bct.InputError, match=r"its output is \(None, 6, 6, 2\); a pooling layer may be missing$"
    ):
        made(encoder=keras.Model(image, keras.layers.Conv2D(2, 3)(image)))


def test_a_batch_without_what_the_method_needs_is_told():
    model = compiled()
    with pytest.raises(
        bct.InputError,
        match=r"^a batch has no 'old_embedding', and the method MixBCT needs it: fit ",
    ):
        model.fit(images().batch(BATCH), verbose=0)


def test_a_label_that_the_head_does_not_have_is_told():
    model = made("independent")
    model.compile("adamw")
    with pytest.raises(bct.InputError, match=r"^a label is outside the head's 4 classes, 0 to 3$"):
        model.fit(PIXELS, LABELS + 1, verbose=0)


def test_refined_prototypes_need_the_images():
    model = made("unibct")
    model.compile("adamw", old_embeddings())
    arrays = {"image": PIXELS, **old_embeddings().fields}
    with pytest.raises(bct.InputError, match=r"call old\.with_images\(images\) before fit$"):
        model.fit(arrays, LABELS, epochs=2, verbose=0)


def test_a_method_of_the_users_own_is_saved_with_its_arguments(tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class Pull(bct.methods.Method):
        needs = ("old_embedding",)

        def __init__(self, weight: float = 10.0):
            super().__init__()
            self.weight = weight

        def penalty(self, new, labels, batch, head):
            return self.weight * (
                1.0 + keras.losses.cosine_similarity(batch["old_embedding"], self.compatible(new))
            )

    model = bct.CompatibleModel(backbone(), bct.heads.ArcFace(CLASSES), Pull(weight=3.0))
    model.compile("adamw", old_embeddings())
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.method.weight == 3.0
    assert evaluated(loaded) == evaluated(model)
