"""Optimizers. A new one is a class with `Shared` here, and a line below.

Every Keras optimizer can train a head that keeps its class weights as Keras does. These are here
because of what they do beside: the papers' recipes to the letter, the gradient clipped over all
replicas, a rate of their own for some variables, and rows of a table.
"""

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from bct_keras import _keras
from bct_keras.errors import InputError
from bct_keras.heads.by_rows import by_rows
from bct_keras.optimizers.shared import Shared


@keras.saving.register_keras_serializable("bct_keras")
class SGD(Shared, keras.optimizers.SGD):
    """Takes PyTorch's steps: the decay is added to the gradient, and so to the momentum.

    Args:
        learning_rate: A number, or a schedule.
        momentum: How much of the last step goes into the next one; 0 is none.
        l2: The decay: so much of the weights is added to their gradient.
        **options: Those of `keras.optimizers.SGD`; `nesterov` is not among them.

    >>> weight = keras.Variable([1.0])
    >>> sgd = SGD(learning_rate=0.1, momentum=0.0, l2=0.5)
    >>> sgd.apply([tf.constant([2.0])], [weight])
    >>> weight.numpy()  # 1 - 0.1 (2 + 0.5 * 1)
    array([0.75], dtype=float32)
    """

    row_slots = ("momentum",)

    def __init__(self, learning_rate, momentum: float = 0.9, l2: float = 5e-4, **options):
        refuse("nesterov", options)
        super().__init__(learning_rate, momentum=momentum, **options)
        self.l2 = l2

    def get_config(self):
        return {**super().get_config(), "l2": self.l2}

    def update_step(self, gradient, variable, learning_rate):
        # b = momentum b + g + l2 w;  w -= lr b
        # Keras keeps lr inside b, where a schedule reaches it late.
        learning_rate = self.rate_of(variable, learning_rate)
        if not self.momentum:
            decayed = gradient + self.l2 * variable
            self.assign_sub(variable, learning_rate * decayed)
            return
        # In place, with no tensor as large as w beside it:
        # b += (l2 / momentum) w;  b = momentum b + g;  w -= lr b
        buffers: Any = self.momentums
        buffer = buffers[_keras.variable_index(self, variable)].value
        if self.l2:
            tf.raw_ops.ResourceApplyGradientDescent(
                var=buffer.handle,
                alpha=-self.l2 / self.momentum,
                delta=tf.convert_to_tensor(variable),
            )
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=buffer.handle,
            lr=learning_rate,
            grad=gradient,
            momentum=self.momentum,
        )

    @by_rows
    def new_rows(self, rate, gradient, weights, buffer):
        """Returns the weights and momentum of these rows after a step."""
        buffer = self.momentum * buffer + gradient + self.l2 * weights
        weights = weights - rate * buffer
        return weights, buffer


@keras.saving.register_keras_serializable("bct_keras")
class SGDW(Shared, keras.optimizers.SGD):
    """Takes steps with momentum and decoupled decay (arXiv:1711.05101).

    The decay is w -= lr decay w. tensorflow-addons leaves lr to its user: its weight_decay is lr
    times the one here.

    Args:
        learning_rate: A number, or a schedule.
        momentum: How much of the last step goes into the next one.
        weight_decay: The share of the weights that a step at rate 1 takes off them.
        **options: Those of `keras.optimizers.SGD`; `nesterov` is not among them.

    >>> weight = keras.Variable([1.0])
    >>> SGDW(learning_rate=0.1, weight_decay=0.5).apply([tf.constant([2.0])], [weight])
    >>> weight.numpy()  # 1 - 0.1 * 0.5 * 1 - 0.1 * 2
    array([0.75], dtype=float32)
    """

    row_slots = ("momentum",)

    def __init__(
        self,
        learning_rate,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        **options,
    ):
        refuse("nesterov", options)
        super().__init__(learning_rate, momentum=momentum, weight_decay=weight_decay, **options)

    @by_rows
    def new_rows(self, rate, gradient, weights, velocity):
        """Returns the weights and momentum of these rows after a step."""
        velocity = self.momentum * velocity - rate * gradient
        decay = rate * self.weight_decay * weights
        weights = weights - decay + velocity
        return weights, velocity


@dataclass(frozen=True)
class MomentBias:
    """What a step of Adam's takes both moments by, as tensors."""

    of_momentum: tf.Tensor  # 1 - b1^t
    of_velocity: tf.Tensor  # sqrt(1 - b2^t)
    share_of_gradient: tf.Tensor  # 1 - b1
    share_of_square: tf.Tensor  # 1 - b2
    epsilon: tf.Tensor


@keras.saving.register_keras_serializable("bct_keras")
class AdamW(Shared, keras.optimizers.AdamW):
    """Takes Adam's steps with decoupled decay (arXiv:1711.05101).

    Args:
        learning_rate: A number, or a schedule.
        weight_decay: The share of the weights that a step at rate 1 takes off them.
        **options: Those of `keras.optimizers.AdamW`; `amsgrad` is not among them.

    >>> weight = keras.Variable([1.0])
    >>> AdamW(learning_rate=0.1, weight_decay=0.5).apply([tf.constant([2.0])], [weight])
    >>> weight.numpy().round(4)  # 1 - 0.1 * 0.5 * 1 - 0.1, Adam's first step
    array([0.85], dtype=float32)
    """

    row_slots = ("momentum", "velocity")

    def __init__(self, learning_rate, weight_decay: float = 0.01, **options):
        refuse("amsgrad", options)
        super().__init__(learning_rate, weight_decay=weight_decay, **options)

    def adapted_step(self, gradient, variable, rate):
        # m += (1 - b1) (g - m);  v += (1 - b2) (g g - v)
        # w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon)
        # Keras's numbers to the bit, in half as many operations: it makes t and its powers, and a
        # constant for each number, anew for every variable.
        dtype = variable.dtype
        bias = self.once_a_step(f"bias in {dtype}", lambda: self.bias_of_moments(dtype))
        size = tf.cast(rate, dtype) * bias.of_velocity / bias.of_momentum
        index = _keras.variable_index(self, variable)
        momentums, velocities = _keras.moments_of(self)
        momentum = momentums[index].value
        velocity = velocities[index].value
        gradient = tf.cast(gradient, dtype)
        momentum.assign_add((gradient - momentum) * bias.share_of_gradient)
        velocity.assign_add((tf.square(gradient) - velocity) * bias.share_of_square)
        variable.assign_sub(momentum * size / (tf.sqrt(velocity) + bias.epsilon))

    def bias_of_moments(self, dtype: Any) -> "MomentBias":
        """Returns what all variables of a step share."""
        iterations: Any = self.iterations
        count = tf.cast(iterations + 1, dtype)
        return MomentBias(
            of_momentum=1 - tf.pow(tf.cast(self.beta_1, dtype), count),
            of_velocity=tf.sqrt(1 - tf.pow(tf.cast(self.beta_2, dtype), count)),
            share_of_gradient=tf.constant(1 - self.beta_1, dtype),
            share_of_square=tf.constant(1 - self.beta_2, dtype),
            epsilon=tf.constant(self.epsilon, dtype),
        )

    @by_rows
    def new_rows(self, rate, gradient, weights, momentum, velocity):
        """Returns the weights and both moments of these rows after a step."""
        momentum = self.beta_1 * momentum + (1 - self.beta_1) * gradient
        velocity = self.beta_2 * velocity + (1 - self.beta_2) * gradient * gradient
        count: Any = tf.cast(self.iterations, tf.float32) + 1.0
        spread_bias = tf.sqrt(1 - tf.pow(self.beta_2, count))
        momentum_bias = 1 - tf.pow(self.beta_1, count)
        unbiased = rate * spread_bias / momentum_bias
        step = unbiased * momentum / (tf.sqrt(velocity) + self.epsilon)
        decay = rate * self.weight_decay * weights
        weights = weights - decay - step
        return weights, momentum, velocity


@keras.saving.register_keras_serializable("bct_keras")
class Lamb(Shared):
    """Takes Adam's steps, as long as the weights are (arXiv:1904.00962).

    Keras subtracts the decay outside; the paper has it within the step whose length is set.

    Args:
        learning_rate: A number, or a schedule.
        weight_decay: How much of the weights is added to the step.
        epsilon: Keeps the division by the gradient's spread finite.
        **options: Those of `keras.optimizers.Optimizer`, such as `name`.

    >>> weights = keras.Variable([3.0, 4.0])
    >>> Lamb(learning_rate=0.1, weight_decay=0.0).apply([tf.constant([1.0, 0.0])], [weights])
    >>> weights.numpy().round(4)  # a step of a tenth of |w| = 5
    array([2.5, 4. ], dtype=float32)
    """

    beta_1 = 0.9
    beta_2 = 0.999

    def __init__(
        self,
        learning_rate,
        weight_decay: float = 0.01,
        epsilon: float = 1e-6,
        **options,
    ):
        super().__init__(learning_rate, **options)
        self.decay_within = weight_decay
        self.epsilon = epsilon

    def get_config(self):
        # Not what Keras calls weight_decay, which it would subtract by itself.
        own = {"weight_decay": self.decay_within, "epsilon": self.epsilon}
        return {**super().get_config(), **own}

    def build(self, variables):
        """Makes both moments of the variables."""
        if not self.built:
            super().build(variables)
            names = ["momentum", "velocity"]
            self.momentums, self.velocities = self.add_optimizer_variables(variables, names)

    def update_step(self, gradient, variable, learning_rate):
        learning_rate = self.rate_of(variable, learning_rate)
        index = _keras.variable_index(self, variable)
        momentum = self.momentums[index]
        velocity = self.velocities[index]
        self.assign_add(momentum, (1 - self.beta_1) * (gradient - momentum))
        self.assign_add(velocity, (1 - self.beta_2) * (gradient * gradient - velocity))
        # r = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon) + decay w;  w -= lr |w| / |r| r
        step = self.adam_step(momentum, velocity) + self.decay_within * variable
        ratio = length_ratio(variable, step)
        self.assign_sub(variable, learning_rate * ratio * step)

    def adam_step(self, momentum: Any, velocity: Any) -> tf.Tensor:
        """Returns m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon)."""
        count: Any = tf.cast(self.iterations, tf.float32) + 1.0
        momentum_bias = 1 - tf.pow(self.beta_1, count)
        velocity_bias = 1 - tf.pow(self.beta_2, count)
        unbiased = momentum / momentum_bias
        spread = tf.sqrt(velocity / velocity_bias)
        return unbiased / (spread + self.epsilon)


def length_ratio(weights: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """Returns |w| / |r|, or 1 where one of them is 0."""
    length = tf.norm(weights)
    step_length = tf.norm(step)
    both = (length > 0) & (step_length > 0)
    ratio = tf.math.divide_no_nan(length, step_length)
    return tf.where(both, ratio, 1.0)


def refuse(option: str, options: dict[str, Any]) -> None:
    """Raises where an option of Keras's is on that the rules here do not follow."""
    if options.get(option):
        raise InputError(
            f"{option}=True is not what this optimizer does; Keras's own of the same name knows it"
        )


OPTIMIZERS = {"adamw": AdamW, "lamb": Lamb, "sgd": SGD, "sgdw": SGDW}
