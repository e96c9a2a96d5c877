import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras import registry
from bct_keras.optimizers import OPTIMIZERS, SCHEDULES


class RateOfStep(keras.optimizers.schedules.LearningRateSchedule):
    """0.5, 0.25, 0.125, ..."""

    def __call__(self, step):
        return 0.5 ** (tf.cast(step, tf.float32) + 1.0)


def random_gradients() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def after_steps(optimizer: keras.Optimizer, start: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    variable = keras.Variable(start)
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [variable])
    return variable.numpy()


def by_pytorch(start: np.ndarray, gradients: np.ndarray, rates, momentum: float, l2: float) -> np.ndarray:
    # https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html without dampening:
    # g += l2 w;  b = momentum b + g, b = g at first;  w -= lr b
    weights, buffer = start.astype(np.float64), np.zeros_like(start, np.float64)
    for gradient, rate in zip(gradients, rates, strict=True):
        buffer = momentum * buffer + (gradient + l2 * weights)
        weights = weights - rate * buffer
    return weights


@pytest.mark.parametrize(("momentum", "l2"), [(0.9, 0.1), (0.9, 0.0), (0.0, 0.1)])
def test_sgd_is_that_of_pytorch(momentum, l2):
    start = np.array([1.0, -2.0, 3.0, 0.0], np.float32)
    sgd = registry.build(OPTIMIZERS, f"sgd(momentum={momentum}, l2={l2})", learning_rate=0.1)
    found = after_steps(sgd, start, random_gradients())
    np.testing.assert_allclose(found, by_pytorch(start, random_gradients(), [0.1] * 3, momentum, l2), rtol=1e-5)


def test_sgd_is_that_of_pytorch_where_the_rate_changes():
    start = np.array([1.0, -2.0, 3.0, 0.0], np.float32)
    sgd = registry.build(OPTIMIZERS, "sgd(momentum=0.9, l2=0.1)", learning_rate=RateOfStep())
    found = after_steps(sgd, start, random_gradients())
    rates = [0.5, 0.25, 0.125]
    np.testing.assert_allclose(found, by_pytorch(start, random_gradients(), rates, 0.9, 0.1), rtol=1e-5)


def test_decay_passes_through_momentum():
    # g = 0, lr 0.5, momentum 0.5, l2 1:  b = 1, w = 1 - 0.5 = 0.5;  b = 0.5 + 0.5 = 1, w = 0.5 - 0.5 = 0.
    # Decoupled decay would have left 1 * 0.5 * 0.5 = 0.25.
    sgd = registry.build(OPTIMIZERS, "sgd(momentum=0.5, l2=1)", learning_rate=0.5)
    assert after_steps(sgd, np.ones(1, np.float32), np.zeros((2, 1), np.float32)) == 0.0


def test_decay_of_adamw_is_decoupled():
    # Without a gradient nothing but the decay is left: w (1 - 0.1 * 0.5)^2 = 0.9025.
    adamw = registry.build(OPTIMIZERS, "adamw(weight_decay=0.5)", learning_rate=0.1)
    found = after_steps(adamw, np.ones(1, np.float32), np.zeros((2, 1), np.float32))
    assert found == pytest.approx(0.9025, rel=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_start_at_the_rate_and_end_at_0(name):
    schedule = registry.build(SCHEDULES, name, learning_rate=0.4, steps=50)
    rates = [float(schedule(step)) for step in range(51)]
    assert rates[0] == pytest.approx(0.4)
    assert rates[50] == pytest.approx(0.0, abs=1e-8)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("polynomial", 0.4 * (1 - 10 / 40)),
        ("polynomial(power=2)", 0.4 * (1 - 10 / 40) ** 2),
        ("cosine", 0.4 * (1 + np.cos(np.pi * 10 / 40)) / 2),
    ],
)
def test_rate_after_a_quarter_of_the_steps(spec, expected):
    schedule = registry.build(SCHEDULES, spec, learning_rate=0.4, steps=40)
    assert float(schedule(10)) == pytest.approx(expected, rel=1e-5)
