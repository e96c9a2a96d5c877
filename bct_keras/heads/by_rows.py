"""Says which optimizers can change some rows of a head's class weights, and leave the others."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import keras
import tensorflow as tf

from bct_keras.heads.cross_entropy import COMPILED_FROM


@runtime_checkable
class RowOptimizer(Protocol):
    """Is an optimizer that can change some rows of a table and leave the others alone."""

    row_slots: Sequence[str]  # what it keeps of each row

    def new_rows(
        self, gradient: tf.Tensor, weights: tf.Tensor, *slots: tf.Tensor
    ) -> Sequence[tf.Tensor]:
        """Returns the rows' weights and slots after a step."""
        ...


def by_rows(rule: Callable) -> Callable:
    """Makes `new_rows` of a rule that needs nothing of other rows.

    It is for a head of which a step touches some rows alone.
    """
    compiled = tf.function(rule, jit_compile=True)

    @functools.wraps(rule)
    def new_rows(self, gradient, weights, *slots):
        # One pass over the rows where they are many; small ones are not worth the compiling.
        chosen = compiled if weights.shape[0] >= COMPILED_FROM else rule
        rate = tf.convert_to_tensor(self.learning_rate)
        return chosen(self, rate, gradient, weights, *slots)

    return new_rows


def without_loss_scale(optimizer: Any) -> Any:
    """Returns the optimizer itself, also from within the one that scales the loss for 16 bits."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer.inner_optimizer
    return optimizer
