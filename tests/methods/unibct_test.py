"""Tests UniBCT, whose prototypes are made anew as an epoch begins."""

import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import bct_keras as bct
from bct_keras.backbones.iresnet import iresnet_small
from bct_keras.callbacks.checkpoints import Checkpoints
from bct_keras.embed.class_store import StoredOldEmbeddings
from bct_keras.errors import InputError
from bct_keras.heads.arcface import ArcFace
from bct_keras.heads.head import Head
from bct_keras.methods.unibct import UniBCT
from bct_keras.models import CompatibleModel

sys.path.insert(0, str(Path(__file__).parent))
from prepared import CLASSES, DIMS, TRAINING, class_means, random_new, ready, unit

RATE = 0.5


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
    """Trains nothing, so that what is trained is the method's doing."""

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
    """Takes the three steps of `fit` by hand.

    The gradient is that of the mean of -log softmax_c(<x / |x|, prototype_c>).
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
    calls: list[tuple] = []
    monkeypatch.setattr(StoredOldEmbeddings, "embedded", lambda *given: calls.append(given))
    method = UniBCT(refresh_epochs=(0,))
    fit(linear(stored, method), stored, 0, 1)
    assert int(method.refreshes.numpy()) == 1
    assert calls == []


def test_unibct_that_would_never_refresh_or_to_no_known_kind_is_refused(stored):
    with pytest.raises(
        InputError, match=r"at epoch 10, and the training has 4 epoch.* refresh_epochs=\(1,\)"
    ):
        UniBCT().prepare(stored, TRAINING)
    with pytest.raises(
        InputError, match=r"^prototypes='rows' of unibct has to be released or refined$"
    ):
        UniBCT(prototypes="rows")


def sources(stored: StoredOldEmbeddings, old: np.ndarray) -> dict[str, bct.OldEmbeddings]:
    """Returns old embeddings as they are, at length 1, and at length 1 but for one of them."""
    one_longer = unit(old)
    one_longer[5] *= 1.01
    found = {}
    for name, embeddings in (("raw", old), ("unit", unit(old)), ("one longer", one_longer)):
        found[name] = bct.OldEmbeddings(embeddings, stored.labels)
    return found


def test_old_embeddings_of_length_1_leave_the_released_prototypes_no_scale(stored, old):
    given = sources(stored, old)
    beginning = "^all old embeddings have length 1, and unibct's relea"
    with pytest.warns(UserWarning, match=beginning) as told:
        ready(UniBCT(refresh_epochs=(1,)), given["unit"])
    assert len(told) == 1


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("raw", {}),
        ("one longer", {}),
        ("unit", {"prototypes": "refined"}),  # at length 1 whatever the old embeddings are
        ("unit", {"scale": 30.0}),
    ],
)
def test_unibct_warns_of_nothing_where_there_is_a_scale(stored, old, name, options):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ready(UniBCT(refresh_epochs=(1,), **options), sources(stored, old)[name])
    assert [str(each.message) for each in told if "length 1" in str(each.message)] == []


def test_stored_old_embeddings_tell_whether_they_have_length_1(stored, monkeypatch):
    assert not stored.has_unit_length()
    monkeypatch.setattr(StoredOldEmbeddings, "feature", lambda self, name: np.zeros((CLASSES, 1)))
    # A mean that is not longer than 1 says nothing yet; the embeddings themselves do.
    assert not stored.has_unit_length()
