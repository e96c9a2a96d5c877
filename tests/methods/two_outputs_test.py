from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_recipe import small_recipe

from bct_keras.encoders import InMemoryEncoder
from bct_keras.encoders import TwoOutputs as TwoOutputsEncoder
from bct_keras.errors import InputError
from bct_keras.heads import ArcFace
from bct_keras.methods.gallerycontrast import GalleryContrast
from bct_keras.methods.method import Training
from bct_keras.methods.old_embeddings import OldEmbeddings
from bct_keras.methods.two_outputs import TwoOutputs
from bct_keras.models import CompatibleModel

DIMS, OLD_DIMS, ROWS = 5, 3, 6


def built(**options) -> TwoOutputs:
    method = TwoOutputs(**{"queue": 8, **options})
    method.prepare(None, Training(classes=3, compatible_dims=OLD_DIMS))
    method.build((None, DIMS))
    return method


def map_of(method: Any) -> np.ndarray:
    (kernel,) = method.shipped_weights()
    return kernel


def rows(dims: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(ROWS, dims)).astype(np.float32)


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_the_map_starts_orthogonal_and_gives_length_1():
    method = built()
    kernel = map_of(method)
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(OLD_DIMS), atol=1e-6)
    new = rows(DIMS, 0)
    expected = unit(unit(new) @ kernel)
    np.testing.assert_allclose(method.compatible(tf.constant(new)), expected, atol=1e-6)


def test_the_penalty_is_that_of_gallerycontrast_on_the_map():
    method = built()
    plain = GalleryContrast(queue=8)
    plain.prepare(None, Training(classes=3, compatible_dims=OLD_DIMS))
    plain.build()
    new, old, labels = rows(DIMS, 0), rows(OLD_DIMS, 1), tf.constant([0, 0, 1, 1, 2, 2])
    batch = {"old_embedding": tf.constant(old)}
    mapped = tf.constant(new @ map_of(method))
    expected = plain.penalty(mapped, labels, batch, None)
    found = method.penalty(tf.constant(new), labels, batch, None)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.3, 1e9])
def test_so_much_of_the_penaltys_gradient_reaches_the_embedding(share):
    method = built(share=share)
    new = tf.constant(rows(DIMS, 0))
    of_head, of_penalty = rows(DIMS, 1), 10 * rows(DIMS, 2)
    with tf.GradientTape() as tape:
        tape.watch(new)
        head, penalty = method.branches(new)
        loss = tf.reduce_sum(head * of_head) + tf.reduce_sum(penalty * of_penalty)
    allowed = share * np.linalg.norm(of_head) / np.linalg.norm(of_penalty)
    expected = of_head + min(1.0, allowed) * of_penalty
    gradient: Any = tape.gradient(loss, new)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_both_branches_are_the_embedding():
    new = tf.constant(rows(DIMS, 0))
    for branch in built().branches(new):
        np.testing.assert_array_equal(branch, new)


def test_a_share_below_0_is_refused():
    with pytest.raises(InputError, match="has to be at least 0"):
        TwoOutputs(share=-0.1)


@pytest.fixture
def trained() -> CompatibleModel:
    image = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    backbone = keras.Model(image, keras.layers.Dense(DIMS)(flat))
    labels = np.arange(ROWS) // 2
    images = np.random.default_rng(0).integers(0, 256, (ROWS, 8, 8, 3)).astype(np.float32)
    old = OldEmbeddings(rows(OLD_DIMS, 1), labels)
    model = CompatibleModel(backbone, ArcFace(classes=3), TwoOutputs(queue=8))
    model.compile(optimizer="adamw", old=old)
    pairs = old.with_images(tf.data.Dataset.from_tensor_slices((images, labels)))
    before = map_of(model.method)
    model.fit(pairs.batch(ROWS), epochs=2, verbose=0)
    assert np.abs(map_of(model.method) - before).max() > 0
    return model


def test_the_map_is_a_part_of_the_encoder(trained, tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), np.uint8)
    encoder = InMemoryEncoder(trained.encoder).view
    assert isinstance(encoder, TwoOutputsEncoder)
    assert (encoder.dims, encoder.compatible_dims) == (DIMS, OLD_DIMS)
    embedding = trained.backbone.predict(images.astype(np.float32), verbose=0)
    np.testing.assert_allclose(encoder.embed(images), embedding, atol=1e-5)
    expected = trained.method.compatible(tf.constant(embedding))
    np.testing.assert_allclose(encoder.compatible.embed(images), expected, atol=1e-5)
    weights = trained.encoder.get_weights()
    ours = [*trained.backbone.get_weights(), *trained.method.shipped_weights()]
    for one, other in zip(weights, ours, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_saved_model_has_its_map(trained, tmp_path):
    path = tmp_path / "model.keras"
    trained.save(path)
    again: Any = keras.saving.load_model(path)
    np.testing.assert_array_equal(map_of(again.method), map_of(trained.method))


def test_the_old_embeddings_may_be_wider_than_the_new_ones():
    image = keras.Input((8, 8, 3))
    backbone = keras.Model(image, keras.layers.Dense(DIMS)(keras.layers.Flatten()(image)))
    old = OldEmbeddings(rows(DIMS + 2, 1), np.arange(ROWS) // 2)
    model = CompatibleModel(backbone, ArcFace(classes=3), TwoOutputs(queue=8))
    model.compile(optimizer="adamw", old=old)
    found: Any = model.encoder(np.zeros((1, 8, 8, 3), np.float32))
    assert {name: each.shape[1] for name, each in found.items()} == {
        "embedding": DIMS,
        "embedding_compatible": DIMS + 2,
    }
    assert small_recipe(compatible_dims=128, method="two_outputs").old_dims == 128
    with pytest.raises(InputError, match=r"compatible_dims=128 is more than .*dims=8"):
        small_recipe(compatible_dims=128, method="l2")
