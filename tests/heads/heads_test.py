from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras.heads import HEADS
from bct_keras.heads.arcface import ArcFace
from bct_keras.heads.head import Head
from bct_keras.heads.softmax import Softmax

# Inputs and results of the reference code's ArcFace, scale 64 and margin 0.5, loss averaged over the batch.
# Row 0 lies at its class centre (cosine 1), row 1 opposite to it, row 2 near it.
REFERENCE = Path(__file__).parents[1] / "golden" / "arcface_exact.npz"


def built(head: Head, class_weights: np.ndarray | None = None) -> Head:
    head.build((None, head.dims))
    if class_weights is not None:
        head.class_weights.assign(class_weights)
    return head


def losses_and_gradients(head: Head, embeddings: np.ndarray, labels: np.ndarray):
    """The gradients are those of the mean loss, with respect to the embeddings and the class weights."""
    inputs = tf.constant(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        losses = head(inputs, tf.constant(labels))
        mean = tf.reduce_mean(losses)
    gradients: Any = tape.gradient(mean, [inputs, head.class_weights.value])
    return losses.numpy(), *(gradient.numpy() for gradient in gradients)


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(REFERENCE) as stored:
        return {name: stored[name] for name in stored} | {"labels": stored["labels"].astype(np.int32)}


def test_arcface_logits_are_those_of_the_reference(reference):
    head = built(ArcFace(classes=50, dims=32, margin=0.5, scale=64.0), reference["weights"])
    logits = head.logits(tf.constant(reference["embeddings"]), tf.constant(reference["labels"])).numpy()
    # At cosine 1 the sine is not 0 but the root of 1e-6, which lowers row 0's logit by 64 * 1e-3 * sin 0.5 = 0.03.
    assert logits[0, reference["labels"][0]] == pytest.approx(64 * (np.cos(0.5) - 1e-3 * np.sin(0.5)), abs=1e-3)
    logits[0, reference["labels"][0]] = reference["logits"][0, reference["labels"][0]]
    np.testing.assert_allclose(logits, reference["logits"], rtol=1e-5, atol=1e-4)


def test_arcface_loss_and_gradients_are_those_of_the_reference(reference):
    head = built(ArcFace(classes=50, dims=32, margin=0.5, scale=64.0), reference["weights"])
    losses, d_embeddings, d_weights = losses_and_gradients(head, reference["embeddings"], reference["labels"])
    # The reference reports no more than -log 1e-30 = 69.1 for an example, and keeps the gradient all the same.
    assert np.minimum(losses, -np.log(1e-30)).mean() == pytest.approx(reference["loss"].item(), rel=1e-5)
    assert np.isfinite(d_embeddings).all()
    assert np.isfinite(d_weights).all()
    # The angle has no gradient at cosine 1: row 0 and its class are left out of the comparison.
    for row in range(1, 16):
        largest = np.abs(reference["d_embeddings"][row]).max()
        np.testing.assert_allclose(d_embeddings[row], reference["d_embeddings"][row], rtol=0, atol=1e-5 * largest)
    others = np.arange(50) != reference["labels"][0]
    largest = np.abs(reference["d_weights"][others]).max()
    np.testing.assert_allclose(d_weights[others], reference["d_weights"][others], rtol=0, atol=1e-5 * largest)


def test_softmax_is_cross_entropy_of_scores_with_a_bias():
    random = np.random.default_rng(0)
    embeddings = random.normal(size=(6, 4)).astype(np.float32)
    weights, bias = random.normal(size=(5, 4)), random.normal(size=5)
    labels = random.integers(0, 5, 6, np.int32)
    head = built(Softmax(classes=5, dims=4), weights)
    head.bias.assign(bias)
    # loss_i = log sum_j exp(w_j . x_i + b_j) - (w_y . x_i + b_y)
    scores = embeddings @ weights.T + bias
    expected = np.log(np.exp(scores).sum(1)) - scores[np.arange(6), labels]
    np.testing.assert_allclose(head(tf.constant(embeddings), tf.constant(labels)), expected, rtol=1e-5)


def test_arcface_without_margin_is_softmax_of_scaled_cosines():
    random = np.random.default_rng(1)
    embeddings, weights = random.normal(size=(6, 4)).astype(np.float32), random.normal(size=(5, 4))
    labels = random.integers(0, 5, 6, np.int32)
    head = built(ArcFace(classes=5, dims=4, margin=0.0, scale=10.0), weights)
    scores = 10 * (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))
    scores = scores @ (weights / np.linalg.norm(weights, axis=1, keepdims=True)).T
    expected = np.log(np.exp(scores).sum(1)) - scores[np.arange(6), labels]
    np.testing.assert_allclose(head(tf.constant(embeddings), tf.constant(labels)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_float32_inside_whatever_the_precision(name, policy):
    # 1.0001 is 1 in 16 bits: the losses are equal only if nothing was rounded on the way.
    embeddings, labels = tf.constant([[3.0, 4.0], [1.0, 1.0001]]), tf.constant([0, 2])
    keras.config.set_dtype_policy(policy)
    try:
        head = built(HEADS[name](classes=3, dims=2))
        losses = head(embeddings, labels)
    finally:
        keras.config.set_dtype_policy("float32")
    assert losses.dtype == tf.float32
    assert all(weight.dtype == "float32" for weight in head.weights)
    head_in_float32 = built(HEADS[name](classes=3, dims=2), head.class_weights.numpy())
    np.testing.assert_array_equal(losses, head_in_float32(embeddings, labels))


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(
    "embedding",
    [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1e-20, 0.0), (1e4, 1e4)],
    ids=["at its class", "opposite", "orthogonal", "zero", "tiny", "huge"],
)
def test_loss_and_gradients_are_finite(name, embedding):
    head = built(HEADS[name](classes=3, dims=2), np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]))
    embeddings, labels = np.array([embedding], np.float32), np.array([0], np.int32)
    for found in losses_and_gradients(head, embeddings, labels):
        assert np.isfinite(found).all()
