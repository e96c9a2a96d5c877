"""Tests heads in 16 bits, compiled, and on embeddings where a cosine has no slope."""

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras import specs
from bct_keras.heads import HEADS

sys.path.insert(0, str(Path(__file__).parent))
from single_head import SPECS, built, losses_and_gradients

pytestmark = pytest.mark.seconds(28)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_float32_inside_whatever_the_precision(name, policy):
    # 1.0001 is 1 in 16 bits: the losses are equal only if nothing was rounded on the way.
    embeddings, labels = tf.constant([[3.0, 4.0], [1.0, 1.0001]]), tf.constant([0, 2])
    keras.config.set_dtype_policy(policy)
    try:
        head = built(HEADS[name](classes=3), dims=2)
        losses = head(embeddings, labels)
    finally:
        keras.config.set_dtype_policy("float32")
    assert losses.dtype == tf.float32
    assert all(weight.dtype == "float32" for weight in head.weights)
    head_in_float32 = built(HEADS[name](classes=3), head.class_weights.numpy())
    np.testing.assert_array_equal(losses, head_in_float32(embeddings, labels))


DEGENERATE = {
    "at its class": (1.0, 0.0),
    "opposite": (-1.0, 0.0),
    "orthogonal": (0.0, 1.0),
    "zero": (0.0, 0.0),
    "tiny": (1e-20, 0.0),
    "huge": (1e4, 1e4),
}


# A simplex of so many classes needs more dimensions.
@pytest.mark.long
@pytest.mark.parametrize("spec", [spec for spec in SPECS if not spec.startswith("simplex")])
def test_compiled_where_classes_are_many_is_the_same(spec, monkeypatch):
    """Compares one step.

    After several a cosine may lie just above `filter_above` in one and just below in the other.
    """
    random = np.random.default_rng(7)
    weights = random.normal(size=(300, 16)).astype(np.float32)
    embeddings = (weights[:32] + random.normal(size=(32, 16))).astype(np.float32)
    head = built(specs.build(HEADS, spec, classes=300), dims=16)
    if head.class_weights.shape == weights.shape:
        head.class_weights.assign(weights)
    labels = np.arange(32, dtype=np.int32)
    plain = losses_and_gradients(head, embeddings, labels)
    monkeypatch.setattr("bct_keras.heads.cross_entropy.COMPILED_FROM", 1)
    for found, expected in zip(losses_and_gradients(head, embeddings, labels), plain, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "xla"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("spec", SPECS)
def test_loss_and_gradients_are_finite(spec, dtype, compiled):
    """Takes each alone, so that one row's NaN does not hide in another's.

    It is in 16 bits as a mixed policy hands them over.
    """
    policy = dtype if dtype == "float32" else f"mixed_{dtype}"
    keras.config.set_dtype_policy(policy)
    try:
        head = built(specs.build(HEADS, spec, classes=3), dims=2)
    finally:
        keras.config.set_dtype_policy("float32")
    start = np.repeat([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]], head.centres, axis=0)
    head.class_weights.assign(start)

    @tf.function(jit_compile=compiled, autograph=False)
    def step(embeddings, labels):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            losses = head(embeddings, labels)
        gradients: Any = tape.gradient(
            losses, [embeddings, *(weight.value for weight in head.trainable_weights)]
        )
        return [tf.cast(found, tf.float32) for found in (losses, *gradients)]

    for name, embedding in DEGENERATE.items():
        for label in range(3):
            for found in step(tf.constant([embedding], dtype), tf.constant([label])):
                assert np.isfinite(found).all(), (name, label)
