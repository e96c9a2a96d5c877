"""Each private interface of Keras still does what is needed of it; one test for each."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bct_keras import _keras


def variables() -> list[keras.Variable]:
    return [keras.Variable(np.zeros(size, np.float32)) for size in (1, 2, 3)]


def test_trainable_variables_of_an_optimizer():
    known = variables()
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(known)
    assert [variable.path for variable in _keras.variables_of(optimizer)] == [
        variable.path for variable in known
    ]


def test_get_variable_index():
    known = variables()
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(known)
    assert [_keras.variable_index(optimizer, variable) for variable in known] == [0, 1, 2]


def test_get_variable_index_of_a_copy_on_one_device(two_replicas):
    """Within an update an optimizer is given the replica's own copy of a variable."""
    found = []

    class Noting(keras.optimizers.Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            found.append(_keras.variable_index(self, variable))

    with two_replicas.scope():
        known: Any = variables()
        optimizer = Noting(0.1)
        optimizer.build(known)

    @tf.function
    def step():
        two_replicas.run(
            lambda: optimizer.apply([tf.ones(variable.shape) for variable in known], known)
        )

    step()
    assert sorted(set(found)) == [0, 1, 2]
    assert len(found) >= 6  # each of three, on each of two devices


def test_run_through_graph():
    any_size = keras.Input((None, None, 3))
    inner = keras.Model(any_size, keras.layers.ReLU()(keras.layers.Conv2D(2, 3)(any_size)))
    image = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inner(image))
    outer = keras.Model(image, keras.Sequential([keras.layers.Dense(5)])(pooled))
    found = _keras.shapes_within(outer, [keras.KerasTensor((7, 8, 8, 3))])
    assert [tensor.shape for tensor in found] == [(7, 6, 6, 2), (7, 6, 6, 2), (7, 2), (7, 5)]


def test_flatten_layers():
    class Holder(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dense(2, name="inner")

        def call(self, inputs):
            return self.inner(inputs)

    inputs = keras.Input((3,))
    part = keras.Sequential([keras.layers.Dense(4, name="in_part")])
    model = keras.Model(inputs, Holder()(part(inputs)))
    names = {layer.name for layer in _keras.layers_within(model)}
    assert {"inner", "in_part", model.name, part.name} <= names


def test_maybe_symbolic_build():
    """Keras's own would call `call` with symbolic tensors before the first step."""
    seen = []

    class Noting(_keras.BuiltByHand):
        def call(self, inputs):
            seen.append(type(inputs).__name__)
            return inputs

    model = Noting()
    model.compile("sgd", "mse")
    model._maybe_symbolic_build(data_batch=(tf.zeros((2, 1)), tf.zeros((2, 1)), None))
    assert not seen


def test_loss_tracker():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    _keras.shown_loss(model).update_state(3.0)
    assert float(model.get_metrics_result()["loss"]) == 3.0


def test_momentums_and_velocities():
    weight = keras.Variable([1.0])
    adam = keras.optimizers.Adam(beta_1=0.5, beta_2=0.75)
    adam.apply([keras.ops.convert_to_tensor([2.0])], [weight])
    (momentum,), (velocity,) = _keras.moments_of(adam)
    assert momentum.numpy() == [1.0]  # (1 - 0.5) 2
    assert velocity.numpy() == [1.0]  # (1 - 0.75) 2 * 2
