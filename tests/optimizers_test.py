from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras import specs
from bct_keras.errors import InputError
from bct_keras.optimizers import OPTIMIZERS, AdamW
from bct_keras.schedules import cosine


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


def by_pytorch(
    start: np.ndarray, gradients: np.ndarray, rates, momentum: float, l2: float
) -> np.ndarray:
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
    sgd = specs.build(OPTIMIZERS, f"sgd(momentum={momentum}, l2={l2})", learning_rate=0.1)
    found = after_steps(sgd, start, random_gradients())
    np.testing.assert_allclose(
        found, by_pytorch(start, random_gradients(), [0.1] * 3, momentum, l2), rtol=1e-5
    )


def test_sgd_is_that_of_pytorch_where_the_rate_changes():
    start = np.array([1.0, -2.0, 3.0, 0.0], np.float32)
    sgd = specs.build(OPTIMIZERS, "sgd(momentum=0.9, l2=0.1)", learning_rate=RateOfStep())
    found = after_steps(sgd, start, random_gradients())
    rates = [0.5, 0.25, 0.125]
    np.testing.assert_allclose(
        found, by_pytorch(start, random_gradients(), rates, 0.9, 0.1), rtol=1e-5
    )


def test_decay_passes_through_momentum():
    # g = 0, lr 0.5, momentum 0.5, l2 1:  b = 1, w = 1 - 0.5 = 0.5;  b = 0.5 + 0.5 = 1, w = 0.5 -
    # 0.5 = 0. Decoupled decay would have left 1 * 0.5 * 0.5 = 0.25.
    sgd = specs.build(OPTIMIZERS, "sgd(momentum=0.5, l2=1)", learning_rate=0.5)
    assert after_steps(sgd, np.ones(1, np.float32), np.zeros((2, 1), np.float32)) == 0.0


def test_decay_of_adamw_is_decoupled():
    # Without a gradient nothing but the decay is left: w (1 - 0.1 * 0.5)^2 = 0.9025.
    adamw = specs.build(OPTIMIZERS, "adamw(weight_decay=0.5)", learning_rate=0.1)
    found = after_steps(adamw, np.ones(1, np.float32), np.zeros((2, 1), np.float32))
    assert found == pytest.approx(0.9025, rel=1e-5)


@pytest.fixture(scope="module")
def addons() -> dict[str, np.ndarray]:
    """Five steps by tensorflow-addons 0.23 at a rate of 0.1; made by
    golden/make_tensorflow_addons.py.
    """
    with np.load(Path(__file__).parent / "golden" / "tensorflow_addons.npz") as stored:
        return dict(stored)


@pytest.mark.parametrize(
    ("key", "spec"),
    [
        ("sgdw", "sgdw(momentum=0.9, weight_decay=0.05)"),  # there 0.005: the rate times ours
        ("lamb", "lamb(weight_decay=0.05)"),
        ("lamb_without_decay", "lamb(weight_decay=0)"),
    ],
)
def test_optimizers_agree_with_tensorflow_addons(addons, key, spec):
    for steps in range(1, 6):
        optimizer = specs.build(OPTIMIZERS, spec, learning_rate=0.1)
        found = after_steps(optimizer, addons["start"], addons["gradients"][:steps])
        np.testing.assert_allclose(found, addons[key][steps - 1], rtol=1e-5, atol=1e-6)


def test_lamb_leaves_zeros_and_no_gradient_finite():
    # Neither a length of the weights nor one of the step: the ratio is 1, and nothing moves.
    lamb = specs.build(OPTIMIZERS, "lamb", learning_rate=0.1)
    np.testing.assert_array_equal(
        after_steps(lamb, np.zeros(3, np.float32), np.zeros((2, 3), np.float32)), 0.0
    )


def clipped_step(
    optimizer: keras.Optimizer, gradients: list[list[float]], clipped: list[int], norm: float
):
    variables = [keras.Variable(np.zeros(len(gradient), np.float32)) for gradient in gradients]
    optimizer.build(variables)
    optimizer.clip(norm, [variables[index] for index in clipped])  # pyright: ignore[reportAttributeAccessIssue]
    optimizer.apply([tf.constant(gradient) for gradient in gradients], variables)
    return [variable.numpy() for variable in variables]


def test_clipping_is_by_the_norm_over_the_chosen_variables():
    # |(3, 4, 12)| = 13 -> 6.5 halves it; the third variable is not among the chosen.
    sgd = specs.build(OPTIMIZERS, "sgd(momentum=0, l2=0)", learning_rate=1.0)
    first, second, third = clipped_step(
        sgd, [[3.0, 4.0], [12.0], [100.0]], clipped=[0, 1], norm=6.5
    )
    np.testing.assert_allclose(first, [-1.5, -2.0], rtol=1e-5)
    np.testing.assert_allclose(second, [-6.0], rtol=1e-5)
    np.testing.assert_allclose(third, [-100.0], rtol=1e-6)


def test_a_short_gradient_is_not_clipped():
    sgd = specs.build(OPTIMIZERS, "sgd(momentum=0, l2=0)", learning_rate=1.0)
    (found,) = clipped_step(sgd, [[3.0, 4.0]], clipped=[0], norm=5.1)
    np.testing.assert_array_equal(found, [-3.0, -4.0])


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_clipping_is_of_the_gradient_summed_over_replicas(name, precision, two_replicas):
    # Replicas with (3, 0) and (0, 4) have the sum (3, 4), of norm 5, which is to become 1: (0.6,
    # 0.8). Each clipped alone would sum to (1, 1) at norm 1. The scale of float16 must not count in
    # the norm.
    with two_replicas.scope():
        optimizer = specs.build(OPTIMIZERS, name, learning_rate=0.1)
        variable = keras.Variable(np.ones(2, np.float32))
        optimizer.clip(1.0, [variable])
        outer = (
            keras.optimizers.LossScaleOptimizer(optimizer)
            if precision == "mixed_float16"
            else optimizer
        )
        outer.build([variable])

    @tf.function
    def step():
        def in_replica():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            gradient = tf.where(replica == 0, tf.constant([3.0, 0.0]), tf.constant([0.0, 4.0]))
            outer.apply([outer.scale_loss(gradient)], [variable])

        two_replicas.run(in_replica)

    step()
    alone = specs.build(OPTIMIZERS, name, learning_rate=0.1)
    np.testing.assert_allclose(
        variable.numpy(),
        after_steps(alone, np.ones(2, np.float32), np.array([[0.6, 0.8]], np.float32)),
        rtol=1e-5,
    )


CONFIGURED = {
    "adamw": "adamw(weight_decay=0.3)",
    "lamb": "lamb(weight_decay=0.3, epsilon=1e-3)",
    "sgd": "sgd(momentum=0.5, l2=0.3)",
    "sgdw": "sgdw(momentum=0.5, weight_decay=0.3)",
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_made_from_its_config_takes_the_same_steps(name):
    optimizer: Any = specs.build(OPTIMIZERS, CONFIGURED[name], learning_rate=0.2)
    variable = keras.Variable(np.ones(4, np.float32), name="clipped")
    optimizer.clip(0.5, [variable])
    again: Any = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(optimizer)
    )
    assert type(again) is OPTIMIZERS[name]
    assert keras.saving.get_registered_name(type(again)) == f"bct_keras>{type(again).__name__}"
    assert again.get_config() == optimizer.get_config()
    assert (again.clip_norm, again.clipped_variables) == (0.5, {variable.path})
    start = np.array([1.0, -2.0, 3.0, 0.0], np.float32)
    expected = after_steps(optimizer, start, random_gradients())
    np.testing.assert_array_equal(after_steps(again, start, random_gradients()), expected)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_an_optimizer_keeps_stands_in_keras_s_order(name):
    # A checkpoint of an earlier version has these by their places.
    ours = specs.build(OPTIMIZERS, name, learning_rate=0.2)
    of_keras = {"adamw": "AdamW", "lamb": "Lamb", "sgd": "SGD", "sgdw": "SGD"}[name]
    theirs = getattr(keras.optimizers, of_keras)(
        0.2, **({"momentum": 0.9} if of_keras == "SGD" else {})
    )
    variables = [keras.Variable(np.zeros(size, np.float32)) for size in (2, 3)]
    for optimizer in (ours, theirs):
        optimizer.build(variables)
    shapes = [[variable.shape for variable in optimizer.variables] for optimizer in (ours, theirs)]
    names = [[variable.name for variable in optimizer.variables] for optimizer in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("name", "option"), [("sgd", "nesterov"), ("sgdw", "nesterov"), ("adamw", "amsgrad")]
)
def test_an_option_that_the_rules_do_not_follow_is_refused(name, option):
    with pytest.raises(InputError, match=f"{option}=True is not what this optimizer does"):
        OPTIMIZERS[name](0.1, **{option: True})


@pytest.mark.parametrize("kind", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_slowed_variables_are_trained_and_decayed_at_a_share_of_the_rate(kind):
    def steps(rate: float, slowed_by: float) -> list[np.ndarray]:
        variables = [keras.Variable([3.0, 4.0]), keras.Variable([1.0, 2.0])]
        optimizer = kind(learning_rate=rate)
        optimizer.slow_down(slowed_by, variables[:1])
        optimizer = kind.from_config(optimizer.get_config())  # as a model that was saved has it
        for _ in range(3):
            optimizer.apply([tf.constant([1.0, 0.5]), tf.constant([0.5, 1.0])], variables)
        return [variable.numpy() for variable in variables]

    slowed, other = steps(0.1, slowed_by=0.2)
    np.testing.assert_allclose(slowed, steps(0.02, slowed_by=1.0)[0], rtol=1e-6)  # 0.2 x 0.1
    np.testing.assert_allclose(other, steps(0.1, slowed_by=1.0)[1], rtol=1e-6)


def test_adamw_gives_the_numbers_of_keras_to_the_bit_in_half_as_many_operations():
    def trained(kind) -> tuple[list[np.ndarray], int]:
        random = np.random.default_rng(0)
        shapes = [(7,), (30, 25), (3, 3, 4, 8)]
        variables = [keras.Variable(random.normal(size=shape), dtype="float32") for shape in shapes]
        rate = cosine(0.01, steps=20, steps_per_epoch=5, warm_up=1)
        optimizer = kind(learning_rate=rate, weight_decay=0.2)
        optimizer.build(variables)
        step = tf.function(lambda *gradients: optimizer.apply(list(gradients), variables))
        for _ in range(10):
            size = 10 ** random.uniform(-6, 2)
            step(*[tf.constant(size * random.normal(size=each), tf.float32) for each in shapes])
        (traced,) = step._list_all_concrete_functions()
        return [variable.numpy() for variable in variables], len(traced.graph.get_operations())

    weights, operations = trained(AdamW)
    expected, operations_of_keras = trained(keras.optimizers.AdamW)
    for found, wanted in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert operations <= operations_of_keras / 2


def test_the_learning_rate_outside_a_step_is_that_of_the_next_one():
    weight = keras.Variable([1.0])
    optimizer = AdamW(learning_rate=cosine(0.4, steps=4, steps_per_epoch=4))
    optimizer.apply([tf.constant([1.0])], [weight])
    assert float(optimizer.learning_rate) == pytest.approx(0.4 * (1 + np.cos(np.pi / 4)) / 2)
    settable = AdamW(learning_rate=0.1)
    settable.learning_rate = 0.2
    assert float(settable.learning_rate) == pytest.approx(0.2)
