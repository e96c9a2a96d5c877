"""Learning rate schedules; `warm_up` counts epochs in which the rate rises from 0 to its start."""

import keras
import tensorflow as tf
from keras.optimizers.schedules import (
    CosineDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
)

from bct_keras.errors import InputError


@keras.saving.register_keras_serializable("bct_keras")
class WarmUp(LearningRateSchedule):
    """Follows the schedule `after`, whose first steps are instead a line up to the rate.

    Args:
        learning_rate: Where the line ends.
        warm_up_steps: How many steps it takes.
        after: The schedule, which counts these steps too.

    >>> from keras.optimizers.schedules import CosineDecay
    >>> schedule = WarmUp(0.4, warm_up_steps=4, after=CosineDecay(0.4, 1000))
    >>> [round(float(schedule(step)), 2) for step in range(5)]
    [0.1, 0.2, 0.3, 0.4, 0.4]
    """

    def __init__(self, learning_rate: float, warm_up_steps: int, after: LearningRateSchedule):
        self.learning_rate = learning_rate
        self.warm_up_steps = warm_up_steps
        self.after = after

    def __call__(self, step):
        # (t + 1) / n: the first step moves the weights, and the last one of the warm-up has the
        # full rate
        share = (tf.cast(step, tf.float32) + 1.0) / max(self.warm_up_steps, 1)
        return tf.where(step < self.warm_up_steps, self.learning_rate * share, self.after(step))

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "warm_up_steps": self.warm_up_steps,
            "after": keras.saving.serialize_keras_object(self.after),
        }

    @classmethod
    def from_config(cls, config):
        after = keras.saving.deserialize_keras_object(config["after"])
        return cls(**{**config, "after": after})


@keras.saving.register_keras_serializable("bct_keras")
class Later(LearningRateSchedule):
    """Starts a schedule at step `first` and not at 0.

    Args:
        first: Up to this step the rate is that of the schedule's start.
        schedule: The schedule, which counts from there.

    >>> from keras.optimizers.schedules import PolynomialDecay
    >>> schedule = Later(10, PolynomialDecay(1.0, 4, end_learning_rate=0.0))
    >>> [float(schedule(step)) for step in (0, 10, 11, 14)]
    [1.0, 1.0, 0.75, 0.0]
    """

    def __init__(self, first: int, schedule: LearningRateSchedule):
        self.first = first
        self.schedule = schedule

    def __call__(self, step):
        return self.schedule(tf.maximum(step - self.first, 0))

    def get_config(self):
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"first": self.first, "schedule": schedule}

    @classmethod
    def from_config(cls, config):
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(**{**config, "schedule": schedule})


def polynomial(
    learning_rate: float,
    steps: int,
    steps_per_epoch: float,
    power: float = 1.0,
    warm_up: float = 0.0,
) -> LearningRateSchedule:
    """Returns lr (1 - t / n)^power over the n steps after the warm-up."""
    first = warm_up_steps(warm_up, steps, steps_per_epoch)
    decay = PolynomialDecay(learning_rate, steps - first, end_learning_rate=0.0, power=power)
    return WarmUp(learning_rate, first, Later(first, decay))


def cosine(
    learning_rate: float,
    steps: int,
    steps_per_epoch: float,
    warm_up: float = 0.0,
) -> LearningRateSchedule:
    """Returns lr (1 + cos(pi t / n)) / 2 over the n steps after the warm-up."""
    first = warm_up_steps(warm_up, steps, steps_per_epoch)
    decay = CosineDecay(learning_rate, steps - first)
    return WarmUp(learning_rate, first, Later(first, decay))


def step(
    learning_rate: float,
    steps: int,
    steps_per_epoch: float,
    epochs: tuple = (20, 26, 32),
    factor: float = 0.1,
    warm_up: float = 0.0,
) -> LearningRateSchedule:
    """Returns the rate times `factor` when each of these epochs has passed; by default UniBCT's."""
    above_0 = all(isinstance(epoch, int | float) and epoch > 0 for epoch in epochs)
    if not above_0 or list(epochs) != sorted(set(epochs)):
        raise InputError(
            f"epochs={epochs} of step have to be numbers above 0, each larger than the one before"
        )
    # PiecewiseConstantDecay changes after its boundary and not at it.
    boundaries = [round(epoch * steps_per_epoch) - 1 for epoch in epochs]
    rates = [learning_rate * factor**count for count in range(len(epochs) + 1)]
    first = warm_up_steps(warm_up, steps, steps_per_epoch)
    return WarmUp(learning_rate, first, PiecewiseConstantDecay(boundaries, rates))


def warm_up_steps(epochs: float, steps: int, steps_per_epoch: float) -> int:
    """Returns how many steps these epochs have, or raises where the whole run has no more."""
    found = round(epochs * steps_per_epoch)
    if not 0 <= found < steps:
        raise InputError(
            f"warm_up={epochs:g} epochs have to be at least 0 and fewer than the run has"
        )
    return found


SCHEDULES = {"cosine": cosine, "polynomial": polynomial, "step": step}
