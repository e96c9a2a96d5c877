"""Optimizers. A new one is a class with `Clipping` here, and a line below."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf

from bct_keras.heads.cross_entropy import COMPILED_FROM


def by_rows(rule: Callable) -> Callable:
    """A rule that needs nothing of other rows, for those of a head of which a step touches some alone."""
    compiled = tf.function(rule, jit_compile=True)

    @functools.wraps(rule)
    def new_rows(self, gradient, weights, *slots):
        # One pass over the rows where they are many; small ones are not worth the compiling.
        chosen = compiled if weights.shape[0] >= COMPILED_FROM else rule
        return chosen(self, tf.convert_to_tensor(self.learning_rate), gradient, weights, *slots)

    return new_rows


class Clipping(keras.optimizers.Optimizer):
    """Clips the gradient of the global batch; Keras's own options clip each replica's before they are summed.

    It stands in the optimizer and not in the step, because mixed_float16 takes its scale off the gradient in between.
    """

    clip_norm = 0.0
    clipped_variables: frozenset[str] = frozenset()

    def clip(self, norm: float, variables: Iterable[keras.Variable]) -> None:
        """From now on the gradient with respect to these variables, taken as one vector, is at most so long."""
        self.clip_norm = norm
        self.clipped_variables = frozenset(variable.path for variable in variables)

    def apply(self, grads, trainable_variables=None):
        variables: Any = self._trainable_variables if trainable_variables is None else list(trainable_variables)
        gradients = list(grads)
        if self.clip_norm:
            gradients = self.clipped(gradients, variables)
        super().apply(gradients, variables)

    def clipped(self, gradients: list, variables: list) -> list:
        chosen = [
            gradient is not None and variable.path in self.clipped_variables
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
        mine = [gradient for gradient, take in zip(gradients, chosen, strict=True) if take]
        replicas: Any = tf.distribute.get_replica_context()
        norm = tf.linalg.global_norm(replicas.all_reduce("SUM", mine))
        # g <- g min(1, c / |g|) with PyTorch's small term. Each replica's share of g is shortened alike.
        factor = tf.minimum(1.0, self.clip_norm / (norm + 1e-6))
        return [gradient * factor if take else gradient for gradient, take in zip(gradients, chosen, strict=True)]


class SGD(Clipping, keras.optimizers.SGD):
    """PyTorch's SGD: the decay is added to the gradient and so passes through the momentum."""

    def __init__(self, learning_rate, momentum: float = 0.9, l2: float = 5e-4):
        super().__init__(learning_rate, momentum=momentum)
        self.l2 = l2

    def update_step(self, gradient, variable, learning_rate):
        # b = momentum b + g + l2 w;  w -= lr b.  Keras keeps lr inside b, where a schedule reaches it late.
        if not self.momentum:
            self.assign_sub(variable, learning_rate * (gradient + self.l2 * variable))
            return
        # In place, with no tensor as large as w beside it:  b += (l2 / momentum) w;  b = momentum b + g;  w -= lr b
        buffer = self.momentums[self._get_variable_index(variable)].value
        if self.l2:
            tf.raw_ops.ResourceApplyGradientDescent(
                var=buffer.handle, alpha=-self.l2 / self.momentum, delta=tf.convert_to_tensor(variable)
            )
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle, accum=buffer.handle, lr=learning_rate, grad=gradient, momentum=self.momentum
        )

    row_slots = ("momentum",)

    @by_rows
    def new_rows(self, rate, gradient, weights, buffer):
        buffer = self.momentum * buffer + gradient + self.l2 * weights
        return weights - rate * buffer, buffer


class SGDW(Clipping, keras.optimizers.SGD):
    """Momentum with decoupled decay, w -= lr decay w: https://arxiv.org/abs/1711.05101

    tensorflow-addons leaves the factor lr to its user: its weight_decay is lr times the one here.
    """

    def __init__(self, learning_rate, momentum: float = 0.9, weight_decay: float = 5e-4):
        super().__init__(learning_rate, momentum=momentum, weight_decay=weight_decay)

    row_slots = ("momentum",)

    @by_rows
    def new_rows(self, rate, gradient, weights, velocity):
        velocity = self.momentum * velocity - rate * gradient
        return weights - rate * self.weight_decay * weights + velocity, velocity


class AdamW(Clipping, keras.optimizers.AdamW):
    """Adam with decoupled decay: https://arxiv.org/abs/1711.05101"""

    def __init__(self, learning_rate, weight_decay: float = 0.01):
        super().__init__(learning_rate, weight_decay=weight_decay)

    row_slots = ("momentum", "velocity")

    @by_rows
    def new_rows(self, rate, gradient, weights, momentum, velocity):
        momentum = self.beta_1 * momentum + (1 - self.beta_1) * gradient
        velocity = self.beta_2 * velocity + (1 - self.beta_2) * gradient * gradient
        count: Any = tf.cast(self.iterations, tf.float32) + 1.0
        unbiased = rate * tf.sqrt(1 - tf.pow(self.beta_2, count)) / (1 - tf.pow(self.beta_1, count))
        step = unbiased * momentum / (tf.sqrt(velocity) + self.epsilon)
        return weights - rate * self.weight_decay * weights - step, momentum, velocity


class Lamb(Clipping, keras.optimizers.Lamb):
    """Adam's step with decay, of a length in proportion to that of the weights: https://arxiv.org/abs/1904.00962

    Keras subtracts the decay outside; the paper and tensorflow-addons have it within the step whose length is set.
    """

    def __init__(self, learning_rate, weight_decay: float = 0.01, epsilon: float = 1e-6):
        super().__init__(learning_rate, epsilon=epsilon)
        self.decay_within = weight_decay

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
        self.assign_add(momentum, (1 - self.beta_1) * (gradient - momentum))
        self.assign_add(velocity, (1 - self.beta_2) * (gradient * gradient - velocity))
        # r = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon) + decay w;  w -= lr |w| / |r| r
        count: Any = tf.cast(self.iterations, tf.float32) + 1.0
        unbiased = momentum / (1 - tf.pow(self.beta_1, count))
        spread = tf.sqrt(velocity / (1 - tf.pow(self.beta_2, count)))
        step = unbiased / (spread + self.epsilon) + self.decay_within * variable
        length, step_length = tf.norm(variable), tf.norm(step)
        ratio = tf.where((length > 0) & (step_length > 0), tf.math.divide_no_nan(length, step_length), 1.0)
        self.assign_sub(variable, learning_rate * ratio * step)


OPTIMIZERS = {"adamw": AdamW, "lamb": Lamb, "sgd": SGD, "sgdw": SGDW}
