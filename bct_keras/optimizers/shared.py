"""Holds what all optimizers of this package do beside their own steps."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from bct_keras import _keras

Optimizer: Any = keras.optimizers.Optimizer


@dataclass(frozen=True)
class OfStep:
    """What the variables of one step share, by name.

    Not a plain dict, which a checkpoint would take for a part of the optimizer.
    """

    values: dict[str, Any] = field(default_factory=dict)


class Shared(keras.optimizers.Optimizer):
    """Clips the gradient of the global batch, and trains some variables at a rate of their own.

    Keras's own options clip each replica's before they are summed. This stands in the optimizer and
    not in the step, because mixed_float16 takes its scale off the gradient in between.
    """

    clip_norm = 0.0
    clipped_variables: frozenset[str] = frozenset()
    slowed_by = 1.0
    slowed_variables: frozenset[str] = frozenset()
    of_step: "OfStep | None" = None  # within `apply`

    @property
    def learning_rate(self) -> Any:
        """The rate of the next step.

        Keras asks for it once for each variable that decays, and a schedule makes a dozen
        operations each time.
        """
        return self.once_a_step("rate", lambda: Optimizer.learning_rate.fget(self))

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        Optimizer.learning_rate.fset(self, learning_rate)

    def once_a_step(self, name: str, compute: Callable[[], Any]) -> Any:
        """Returns what is the same for all variables of a step; tracing it again takes time."""
        if self.of_step is None:
            return compute()
        if name not in self.of_step.values:
            self.of_step.values[name] = compute()
        return self.of_step.values[name]

    def clip(self, norm: float, variables: Iterable[keras.Variable]) -> None:
        """Holds the gradient of these variables, taken as one vector, to this length."""
        self.clip_norm = norm
        self.clipped_variables = frozenset(variable.path for variable in variables)

    def slow_down(self, factor: float, variables: Iterable[keras.Variable]) -> None:
        """Trains these variables at so much of the learning rate; their decay is as much less.

        It has to be called before the optimizer is built.
        """
        self.slowed_by = factor
        self.slowed_variables = frozenset(variable.path for variable in variables)

    def build(self, variables):
        """Makes what is kept of the variables."""
        if self.slowed_variables and not self.built:
            # Keras would decay them by the whole rate: `update_step` does it by theirs.
            slowed = [each for each in variables if each.path in self.slowed_variables]
            self.exclude_from_weight_decay(var_list=slowed)
        super().build(variables)

    def is_slowed(self, variable: Any) -> bool:
        """Tells whether a variable, or the copy of one on a device, has a rate of its own."""
        if not self.slowed_variables:
            return False
        whole = _keras.variables_of(self)[_keras.variable_index(self, variable)]
        return whole.path in self.slowed_variables

    def rate_of(self, variable: Any, learning_rate: Any) -> Any:
        """Returns the learning rate of a variable."""
        return learning_rate * self.slowed_by if self.is_slowed(variable) else learning_rate

    def update_step(self, gradient, variable, learning_rate):
        rate = self.rate_of(variable, learning_rate)
        decay = getattr(self, "weight_decay", None)
        if decay and self.is_slowed(variable):
            self.assign_sub(variable, rate * decay * variable)
        self.adapted_step(gradient, variable, rate)

    def adapted_step(self, gradient: Any, variable: Any, rate: Any) -> None:
        """Changes a variable by its gradient, at its own rate: Keras's rule, or another one."""
        super().update_step(gradient, variable, rate)

    def get_config(self):
        own = {
            "clip_norm": self.clip_norm,
            "clipped_variables": sorted(self.clipped_variables),
        }
        if self.slowed_variables:
            own |= {
                "slowed_by": self.slowed_by,
                "slowed_variables": sorted(self.slowed_variables),
            }
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        options = dict(config)
        norm = options.pop("clip_norm", 0.0)
        variables = options.pop("clipped_variables", ())
        factor = options.pop("slowed_by", 1.0)
        slowed = options.pop("slowed_variables", ())
        made: Any = super().from_config(options, custom_objects)
        made.clip_norm = norm
        made.clipped_variables = frozenset(variables)
        made.slowed_by = factor
        made.slowed_variables = frozenset(slowed)
        return made

    def apply(self, grads, trainable_variables=None):
        if trainable_variables is None:
            trainable_variables = _keras.variables_of(self)
        variables: Any = list(trainable_variables)
        gradients = list(grads)
        if self.clip_norm:
            gradients = self.clipped(gradients, variables)
        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            self.of_step = OfStep()
        try:
            super().apply(gradients, variables)
        finally:
            self.of_step = None

    def clipped(self, gradients: list, variables: list) -> list:
        """Returns the gradients, those with respect to the chosen variables shortened."""
        chosen = []  # their places
        for place, variable in enumerate(variables):
            if gradients[place] is not None and variable.path in self.clipped_variables:
                chosen.append(place)
        replicas: Any = tf.distribute.get_replica_context()
        summed = replicas.all_reduce("SUM", [gradients[place] for place in chosen])
        norm = tf.linalg.global_norm(summed)
        # g <- g min(1, c / |g|) with PyTorch's small term; each replica's share of g alike
        factor = tf.minimum(1.0, self.clip_norm / (norm + 1e-6))
        shortened = list(gradients)
        for place in chosen:
            shortened[place] = gradients[place] * factor
        return shortened
