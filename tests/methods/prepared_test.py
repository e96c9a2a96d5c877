"""Methods that read the old embeddings as a whole: prototypes, boundaries, the old head, and
UniBCT's refresh.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras.backbones.iresnet import iresnet_small
from bct_keras.callbacks.checkpoints import Checkpoints
from bct_keras.data.dataset import open_data_set
from bct_keras.data.embeddings import open_embeddings
from bct_keras.embed import class_store
from bct_keras.embed.class_store import StoredOldEmbeddings
from bct_keras.embed.run import embed
from bct_keras.encoders import load_encoder
from bct_keras.errors import InputError
from bct_keras.heads.arcface import ArcFace
from bct_keras.heads.head import Head
from bct_keras.methods.advbct import AdvBCT
from bct_keras.methods.bct import BCT
from bct_keras.methods.fd import FD
from bct_keras.methods.lwf import LwF
from bct_keras.methods.method import Training
from bct_keras.methods.unibct import UniBCT
from bct_keras.models import CompatibleModel
from bct_keras.train import old_encoders, old_head

DIMS, EPOCHS = 8, 4
RATE = 0.5
TRAINING = Training(classes=6, compatible_dims=DIMS, epochs=EPOCHS, steps=40)


@pytest.fixture(scope="module")
def stored(data_root, tiny_encoder_path, tmp_path_factory) -> StoredOldEmbeddings:
    """36 images of 6 classes, embedded by an encoder whose head lies beside it."""
    data, path = open_data_set(data_root / "new"), tiny_encoder_path(DIMS)
    np.savez(
        path.parent / "head.npz",
        class_weights=np.eye(3, DIMS, dtype=np.float32),
        bias=np.array([0, 1, 2], np.float32),
    )
    folder = tmp_path_factory.mktemp("prepared") / "new-by-old"
    embed(load_encoder(path), data, folder)
    return old_head.source(open_embeddings(folder, data))


@pytest.fixture(scope="module")
def old(stored) -> np.ndarray:
    """[36, dims] in the order of the shards"""
    return np.concatenate([np.load(path) for path in stored.files("old_embedding")])


@pytest.fixture(scope="module")
def labels(stored) -> np.ndarray:
    return stored.labels


def ready(method, stored):
    method.prepare(stored, TRAINING)
    method.build((None, DIMS))
    return method


def unit(embeddings):
    return embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)


def class_means(old, labels) -> np.ndarray:
    return unit(np.stack([old[labels == label].mean(0) for label in range(6)]))


def random_new(rows: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(rows, DIMS)).astype(np.float32)


def test_features_of_classes_are_computed_once(stored, monkeypatch):
    stored.feature("prototypes")
    monkeypatch.setattr(StoredOldEmbeddings, "computed", lambda self: pytest.fail("computed again"))
    assert stored.feature("radii").shape == (6,)


@pytest.fixture
def own_features(stored, tmp_path) -> StoredOldEmbeddings:
    """Made, in a place of their own."""
    shutil.copytree(stored.shards.folder, tmp_path / "new-by-old")
    classes = StoredOldEmbeddings(replace(stored.shards, folder=tmp_path / "new-by-old"))
    classes.feature("prototypes")
    return classes


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def change(path: Path) -> None:
    np.save(path, np.load(path) + 1)


@pytest.mark.parametrize("damage", [cut_off, change, Path.unlink])
def test_features_of_classes_that_were_damaged_are_refused(own_features, damage):
    damage(own_features.folder / "prototypes.npy")
    said = (
        r"prototypes\.npy: these class features are missing or were changed; remove"
        rf" {own_features.folder};"
    )
    with pytest.raises(InputError, match=said):
        own_features.feature("prototypes")
    shutil.rmtree(own_features.folder)
    assert own_features.feature("prototypes").shape == (6, DIMS)


def test_features_of_classes_by_another_formula_are_not_taken(own_features, monkeypatch):
    before = own_features.folder
    monkeypatch.setattr(class_store, "FORMULAS", class_store.FORMULAS + 1)
    own_features.feature("prototypes")
    assert own_features.folder != before


def test_what_is_made_from_the_folder_one_stands_in_lies_beside_it(
    data_root, tiny_encoder_path, tmp_path, monkeypatch
):
    faces = Path(shutil.copytree(data_root, tmp_path / "faces"))
    monkeypatch.chdir(faces / "new")
    made = old_encoders.embeddings(tiny_encoder_path(DIMS), open_data_set("."), DIMS).folder
    monkeypatch.chdir(made)
    classes = StoredOldEmbeddings(old_encoders.embeddings(Path("."), open_data_set("../new"), DIMS))
    classes.feature("prototypes")
    assert made.parent == classes.folder.parent == faces
    assert classes.folder.name.startswith(f"{made.name}-classes-")


def test_bct_is_the_cross_entropy_with_the_old_class_means(stored, old, labels):
    new = random_new(36)
    logits = 4.0 * unit(new) @ class_means(old, labels).T
    expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(36), labels]
    found = ready(BCT(scale=4.0, weight=2.0), stored).penalty(
        tf.constant(new), tf.constant(labels), {}, None
    )
    np.testing.assert_allclose(found, 2.0 * expected, rtol=1e-4)


def test_fd_weighs_up_rows_where_the_old_encoder_is_right(stored, old, labels):
    new = random_new(36)
    nearest = (unit(old) @ class_means(old, labels).T).argmax(1)
    assert 0 < np.mean(nearest == labels) < 1
    expected = np.where(nearest == labels, 6.0, 1.0) * np.square(unit(new) - unit(old)).sum(1)
    batch = {"old_embedding": tf.constant(old)}
    found = ready(FD(base=1.0, focus=5.0), stored).penalty(
        tf.constant(new), tf.constant(labels), batch, None
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_lwf_is_least_where_the_old_head_says_the_same_of_both(stored, old, labels):
    method = ready(LwF(temperature=2.0), stored)
    same = method.penalty(
        tf.constant(old), tf.constant(labels), {"old_embedding": tf.constant(old)}, None
    )
    logits = (old @ np.eye(DIMS, 3) + [0, 1, 2]) / 2.0
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(same, -(shares * np.log(shares)).sum(1), rtol=1e-4)  # the entropy
    other = method.penalty(
        tf.constant(random_new(36)), tf.constant(labels), {"old_embedding": tf.constant(old)}, None
    )
    assert np.all(other >= same)


def test_lwf_without_an_old_head_says_what_to_do(stored, tmp_path):
    with pytest.raises(
        InputError, match=r"nowhere\.npz cannot be read: .* give lwf\(old_head=FILE\.npz\)"
    ):
        LwF(old_head=str(tmp_path / "nowhere.npz")).prepare(stored, TRAINING)
    np.savez(tmp_path / "narrow.npz", class_weights=np.zeros((3, 5), np.float32))
    with pytest.raises(
        InputError, match=r"narrow\.npz: `class_weights` has to be there, \[classes, 8\]"
    ):
        LwF(old_head=str(tmp_path / "narrow.npz")).prepare(stored, TRAINING)


def test_advbct_pulls_only_what_is_outside_its_boundary(stored, labels):
    method = ready(AdvBCT(), stored)
    centres = stored.feature("centres")[labels]
    radii = stored.feature("radii")[labels]
    new = random_new(36)
    boundaries = radii + (0.4 - radii) / (1 + np.exp(-method.elastic.numpy()[labels]))
    excess = np.maximum(np.linalg.norm(unit(new) - centres, axis=1) - boundaries, 0)
    found = method.point_to_set(tf.constant(unit(new)), tf.constant(labels))
    assert np.mean(found) == pytest.approx(excess[excess > 0].mean(), rel=1e-4)
    np.testing.assert_array_equal(
        method.point_to_set(tf.constant(centres), tf.constant(labels)), np.zeros(36)
    )


def compiled(stored: StoredOldEmbeddings, method: UniBCT) -> CompatibleModel:
    model = CompatibleModel(
        iresnet_small(image_size=28, dims=DIMS, width=4), ArcFace(classes=6), ready(method, stored)
    )
    model.compile(optimizer=keras.optimizers.SGD())
    return model


def fit(
    model: CompatibleModel, stored: StoredOldEmbeddings, first_epoch: int, epochs: int, *callbacks
) -> None:
    batches = stored.shards.data.batches(12).map(
        lambda record: ({"image": record["image"]}, record["label"])
    )
    model.fit(
        batches.take(3).repeat(),
        initial_epoch=first_epoch,
        epochs=epochs,
        steps_per_epoch=3,
        verbose=0,  # pyright: ignore
        callbacks=list(callbacks),
    )


def test_unibct_refines_at_its_epochs_and_a_resumed_run_does_not_again(stored, tmp_path):
    method = UniBCT(refresh_epochs=(1, 3), prototypes="refined")
    model = compiled(stored, method)
    first = method.prototypes.numpy()
    checkpoints = Checkpoints(model, tmp_path, steps_per_epoch=3)
    fit(model, stored, 0, 1)
    assert int(method.refreshes.numpy()) == 0
    np.testing.assert_array_equal(method.prototypes.numpy(), first)
    penalty = method.penalty(tf.constant(random_new(4)), tf.constant([0, 1, 2, 3]), {}, None)
    np.testing.assert_array_equal(penalty, np.zeros(4))
    fit(model, stored, 1, 2, checkpoints)
    assert int(method.refreshes.numpy()) == 1
    refined = method.prototypes.numpy()
    assert np.abs(refined - first).max() > 1e-4
    np.testing.assert_allclose(np.linalg.norm(refined, axis=1), 1.0, rtol=1e-5)

    resumed = compiled(stored, UniBCT(refresh_epochs=(1, 3), prototypes="refined"))
    assert Checkpoints(resumed, tmp_path, steps_per_epoch=3).restore() == 2 * 3
    fit(resumed, stored, 2, 3)
    np.testing.assert_array_equal(resumed.method.prototypes.numpy(), refined)
    fit(resumed, stored, 3, 4)
    assert int(resumed.method.refreshes.numpy()) == 2
    assert np.abs(resumed.method.prototypes.numpy() - refined).max() > 1e-6


class NoLoss(Head):
    """A head that trains nothing, so that what is trained is the method's doing."""

    def make_class_weights(self):
        pass

    def call(self, embeddings, labels, rows=None, swapped=None):
        return tf.zeros_like(embeddings[:, 0])


def linear(stored: StoredOldEmbeddings, method: UniBCT) -> CompatibleModel:
    image = keras.Input((28, 28, 3))
    pixels = keras.layers.Rescaling(1 / 255)(keras.layers.Flatten()(image))
    backbone = keras.Model(image, keras.layers.Dense(DIMS, use_bias=False)(pixels))
    model = CompatibleModel(backbone, NoLoss(classes=6), ready(method, stored))
    model.compile(optimizer=keras.optimizers.SGD(RATE))
    return model


def trained_by_hand(
    kernel: np.ndarray, prototypes: np.ndarray, stored: StoredOldEmbeddings
) -> np.ndarray:
    """The three steps of `fit`, with the gradient of the mean of -log softmax_c(<x / |x|,
    prototype_c>)
    """
    for batch in stored.shards.data.batches(12).take(3):
        pixels = batch["image"].numpy().reshape(12, -1) / 255
        embeddings = pixels @ kernel
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        directions = embeddings / lengths
        exponentials = np.exp(directions @ prototypes.T)
        of_logits = (
            exponentials / exponentials.sum(1, keepdims=True) - np.eye(6)[batch["label"].numpy()]
        )
        of_directions = of_logits @ prototypes / 12
        along = np.sum(of_directions * directions, axis=1, keepdims=True)
        kernel = kernel - RATE * pixels.T @ ((of_directions - along * directions) / lengths)
    return kernel


def test_unibct_as_released_trains_from_its_first_refresh_on_by_means_at_their_own_length(
    stored, old, labels
):
    model = linear(stored, UniBCT(refresh_epochs=(1,)))
    (kernel,) = model.trainable_variables
    start = kernel.numpy()
    fit(model, stored, 0, 1)
    np.testing.assert_array_equal(kernel.numpy(), start)
    means = np.stack([old[labels == label].mean(0) for label in range(6)])
    assert (
        np.abs(np.linalg.norm(means, axis=1) - 1).min() > 0.05
    )  # embeddings are stored as the encoder gave them
    fit(model, stored, 1, 2)
    np.testing.assert_allclose(model.method.prototypes.numpy(), means, rtol=1e-5, atol=1e-6)
    expected = trained_by_hand(start.astype(np.float64), means.astype(np.float64), stored)
    way = np.abs(expected - start).max()
    np.testing.assert_allclose(kernel.numpy(), expected, rtol=0, atol=1e-3 * way)
    # At length 1 they would have trained something else.
    other = trained_by_hand(
        start.astype(np.float64), class_means(old, labels).astype(np.float64), stored
    )
    assert np.abs(other - expected).max() > 0.05 * way


def test_unibct_as_released_embeds_nothing_at_a_refresh(stored, monkeypatch):
    monkeypatch.setattr(StoredOldEmbeddings, "embedded", lambda *given: pytest.fail("embedded"))
    fit(linear(stored, UniBCT(refresh_epochs=(0,))), stored, 0, 1)


def test_unibct_that_would_never_refresh_or_to_no_known_kind_is_refused(stored):
    with pytest.raises(
        InputError, match=r"at epoch 10, and the training has 4 epoch.* refresh_epochs=\(1,\)"
    ):
        UniBCT().prepare(stored, TRAINING)
    with pytest.raises(
        InputError, match=r"^prototypes='rows' of unibct has to be released or refined$"
    ):
        UniBCT(prototypes="rows")


def test_a_wider_encoder_is_compatible_in_its_first_coordinates(stored, old, labels):
    wide = np.concatenate([random_new(36), 100 * random_new(36)], axis=1)
    method = ready(BCT(), stored)
    narrow = method.penalty(tf.constant(wide[:, :DIMS]), tf.constant(labels), {}, None)
    np.testing.assert_allclose(
        method.penalty(tf.constant(wide), tf.constant(labels), {}, None), narrow, rtol=1e-6
    )


def test_a_damaged_shard_of_old_embeddings_is_found(stored, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in Path(stored.shards.folder).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    next(iter(sorted(folder.glob("*.old_embedding.npy")))).write_bytes(b"damaged")
    with pytest.raises(InputError, match="missing or was changed"):
        open_embeddings(folder, stored.shards.data)
