"""Compares AdvBCT's whole penalty with the formula in float64.

Its gradient is compared with finite differences.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bct_keras.methods.advbct import AdvBCT, reversed_gradient
from bct_keras.methods.method import Training

ROWS, CLASSES, DIMS = 12, 4, 6
EPOCHS, STEPS, STEP = 20, 40, 6  # a share of 0.15, in epoch 3
FADE = (20 - 3 + 1) / 20
STRENGTH = 2 / (1 + np.exp(-10 * 0.15)) - 1
SET_WEIGHT, ADVERSARIAL_WEIGHT, THRESHOLD = 3.0, 5.0, 0.4

random = np.random.default_rng(0)
LABELS = np.arange(ROWS) % CLASSES
CENTRES = random.normal(size=(CLASSES, DIMS)).astype(np.float32)
CENTRES /= np.linalg.norm(CENTRES, axis=1, keepdims=True)
NEW = CENTRES[LABELS] + 0.4 * random.normal(size=(ROWS, DIMS)).astype(np.float32)
OLD = random.normal(size=(ROWS, DIMS)).astype(np.float32)
RADII = np.array([0.3, 1.0, 1.5, 0.5], np.float32)
KEPT = np.array([5, 4, 6, 1], np.float32)  # the last class has no boundary


@pytest.fixture
def method() -> AdvBCT:
    """Returns a method with random numbers wherever it would start with zeros or ones."""
    made: Any = AdvBCT(THRESHOLD, SET_WEIGHT, ADVERSARIAL_WEIGHT)
    old: Any = SimpleNamespace(
        feature={"centres": CENTRES, "radii": RADII, "kept": KEPT}.__getitem__
    )
    made.prepare(old, Training(CLASSES, DIMS, EPOCHS, STEPS))
    made.build((None, DIMS))
    start = np.random.default_rng(1)
    for weight in made.trainable_variables:
        weight.assign(start.normal(size=weight.shape))
    return made


def unit(embeddings: np.ndarray) -> np.ndarray:
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def point_to_set(new: np.ndarray, elastic: np.ndarray) -> np.ndarray:
    boundaries = RADII + (THRESHOLD - RADII) / (1 + np.exp(-elastic))
    excess = np.linalg.norm(unit(new) - CENTRES[LABELS], axis=1) - boundaries[LABELS]
    excess = np.where(KEPT[LABELS] > 1, np.maximum(excess, 0), 0)
    return excess / np.mean(excess > 0)


def log_shares(
    embeddings: np.ndarray, kernel: np.ndarray, weights: dict[str, np.ndarray]
) -> np.ndarray:
    """Returns the logarithms of the discriminator's shares, [batch, new and old]."""
    hidden = unit(embeddings) @ kernel
    hidden = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-5) * weights["gamma"] + weights[
        "beta"
    ]
    scores = np.maximum(hidden, 0) @ weights["kernel"] + weights["bias"]
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))


def slopes(function: Callable[[np.ndarray], np.ndarray], at: np.ndarray) -> np.ndarray:
    """Returns the slopes of the sum of a function's values, by differences to both sides."""
    found = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        step = np.zeros_like(at)
        step[place] = 1e-6
        found[place] = (function(at + step).sum() - function(at - step).sum()) / 2e-6
    return found


def in_float64(weight) -> np.ndarray:
    return weight.numpy().astype(np.float64)


def test_the_penalty_and_its_gradients_are_those_of_the_formula(method):
    weights = {
        weight.name: in_float64(weight)
        for layer in (method.norm, method.verdict)
        for weight in layer.weights
    }
    kernel, elastic, new = (
        in_float64(method.hidden.kernel),
        in_float64(method.elastic),
        NEW.astype(np.float64),
    )

    def to_set(new, elastic):
        return SET_WEIGHT * point_to_set(new, elastic)

    def told_apart(new, kernel):
        judged_new, judged_old = (log_shares(rows, kernel, weights) for rows in (new, OLD))
        return ADVERSARIAL_WEIGHT * FADE * (-judged_new[:, 0] - judged_old[:, 1])

    assert 0 < np.mean(to_set(new, elastic) > 0) < np.mean(KEPT[LABELS] > 1)
    given = tf.constant(NEW)
    with tf.GradientTape() as tape:
        tape.watch(given)
        batch = {"old_embedding": tf.constant(OLD), "step": tf.constant(STEP, tf.int64)}
        penalty = method.penalty(given, tf.constant(LABELS, tf.int32), batch, None)
    np.testing.assert_allclose(penalty, to_set(new, elastic) + told_apart(new, kernel), rtol=1e-4)
    found: Any = tape.gradient(penalty, [given, method.elastic.value, method.hidden.kernel.value])
    # The encoder makes the kinds harder to tell apart, and the discriminator learns to tell them.
    expected = [
        slopes(lambda values: to_set(values, elastic), new)
        - STRENGTH * slopes(lambda values: told_apart(values, kernel), new),
        slopes(lambda values: to_set(new, values), elastic),
        slopes(lambda values: told_apart(new, values), kernel),
    ]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            tf.convert_to_tensor(ours), theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max()
        )


def test_the_gradient_is_reversed_and_the_value_is_not():
    values = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        found = tf.reduce_sum(reversed_gradient(values, tf.constant(0.5)) ** 2)  # pyright: ignore
    assert float(found) == 5.0
    np.testing.assert_allclose(tape.gradient(found, values), [-1.0, -2.0])  # pyright: ignore


# (E - e + 1) / E with 4 epochs of 10 steps
@pytest.mark.parametrize(
    ("step", "expected"), [(0, 5 / 4), (9, 5 / 4), (10, 4 / 4), (39, 2 / 4), (40, 2 / 4)]
)
def test_the_discriminator_fades_over_the_epochs(step, expected):
    made = AdvBCT()
    made.epochs, made.steps = 4, 40
    assert float(made.fade(tf.constant(step, tf.int64))) == pytest.approx(expected)


def test_every_epoch_fades_from_its_first_step_on():
    made = AdvBCT()
    made.epochs, made.steps = 41, 41 * 100
    # In float32 the share of the steps that is done comes out below 1/41, 2/41, 4/41, ...
    found = [float(made.fade(tf.constant(epoch * 100, tf.int64))) for epoch in range(41)]
    np.testing.assert_allclose(found, [(41 - epoch + 1) / 41 for epoch in range(41)], rtol=1e-6)
