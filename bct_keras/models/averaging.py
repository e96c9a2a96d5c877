"""Averages the backbone's weights over the last steps, which is often the better encoder."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf


class Averages:
    """Follows the weights of a backbone by averages, which are weights of the model."""

    def __init__(self, model: keras.Model, backbone: keras.Model, share: float):
        """Makes the averages.

        Args:
            model: Owns them.
            backbone: Whose weights are averaged.
            share: How much of the average stays at a step, once it has begun; 0 is no average.
        """
        self.share = share
        self.weights: list[Any] = []
        self.averages: list[Any] = []
        for weight in backbone.weights if share > 0 else ():
            if weight.dtype.startswith("float"):
                self.weights.append(weight)
                self.averages.append(average_of(model, weight))

    def update(self, steps: keras.Variable) -> None:
        """Takes the weights after a step into the average.

        average <- share average + (1 - share) weights
        share = min(the one asked for, (1 + t) / (10 + t))

        After t steps the average is over about the last ninth of them, until that is as long as
        what was asked for: so the first weights, which are random, are soon gone. With 0.999 from
        the start they would be 36 % of the average after 1,025 steps; so they are 1e-21 of it.
        """
        done = tf.cast(steps, tf.float32)
        share = tf.minimum(self.share, (1.0 + done) / (10.0 + done))
        for weight, average in zip(self.weights, self.averages, strict=True):
            average.assign(share * average + (1 - share) * weight)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Puts the averages in the place of the weights for a while."""
        kept = [weight.numpy() for weight in self.weights]
        for weight, average in zip(self.weights, self.averages, strict=True):
            weight.assign(average.numpy())
        try:
            yield
        finally:
            for weight, value in zip(self.weights, kept, strict=True):
                weight.assign(value)


def average_of(model: keras.Model, weight: Any) -> Any:
    """Returns a new weight of the model, which begins as the given one."""
    average: Any = model.add_weight(
        name=f"average_{weight.name}",
        shape=weight.shape,
        dtype=weight.dtype,
        initializer="zeros",
        trainable=False,
        aggregation="only_first_replica",
    )
    average.assign(weight)
    return average
