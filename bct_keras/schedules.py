"""Learning rate schedules. `warm_up` counts epochs in which the rate rises from 0 to the given one."""

import tensorflow as tf
from keras.optimizers.schedules import CosineDecay, LearningRateSchedule, PiecewiseConstantDecay, PolynomialDecay

from bct_keras.errors import InputError


class WarmUp(LearningRateSchedule):
    """The schedule `after`, whose first steps are instead a line up to the rate."""

    def __init__(self, learning_rate: float, warm_up_steps: int, after: LearningRateSchedule):
        self.learning_rate = learning_rate
        self.warm_up_steps = warm_up_steps
        self.after = after

    def __call__(self, step):
        # (t + 1) / n: the first step moves the weights, and the last one of the warm-up has the full rate
        share = (tf.cast(step, tf.float32) + 1.0) / max(self.warm_up_steps, 1)
        return tf.where(step < self.warm_up_steps, self.learning_rate * share, self.after(step))

    def get_config(self):
        return {"learning_rate": self.learning_rate, "warm_up_steps": self.warm_up_steps, "after": self.after}


class Later(LearningRateSchedule):
    """A schedule that starts at step `first` and not at 0."""

    def __init__(self, first: int, schedule: LearningRateSchedule):
        self.first = first
        self.schedule = schedule

    def __call__(self, step):
        return self.schedule(tf.maximum(step - self.first, 0))

    def get_config(self):
        return {"first": self.first, "schedule": self.schedule}


def polynomial(
    learning_rate: float, steps: int, steps_per_epoch: float, power: float = 1.0, warm_up: float = 0.0
) -> LearningRateSchedule:
    """lr (1 - t / n)^power over the n steps after the warm-up"""
    first = warm_up_steps(warm_up, steps, steps_per_epoch)
    decay = PolynomialDecay(learning_rate, steps - first, end_learning_rate=0.0, power=power)
    return WarmUp(learning_rate, first, Later(first, decay))


def cosine(learning_rate: float, steps: int, steps_per_epoch: float, warm_up: float = 0.0) -> LearningRateSchedule:
    """lr (1 + cos(pi t / n)) / 2 over the n steps after the warm-up"""
    first = warm_up_steps(warm_up, steps, steps_per_epoch)
    return WarmUp(learning_rate, first, Later(first, CosineDecay(learning_rate, steps - first)))


def step(
    learning_rate: float,
    steps: int,
    steps_per_epoch: float,
    epochs: tuple = (20, 26, 32),
    factor: float = 0.1,
    warm_up: float = 0.0,
) -> LearningRateSchedule:
    """The rate times `factor` when each of these epochs has passed; the defaults are UniBCT's"""
    if not all(isinstance(epoch, int | float) and epoch > 0 for epoch in epochs) or list(epochs) != sorted(set(epochs)):
        raise InputError(f"epochs={epochs} of step have to be numbers above 0, each larger than the one before")
    # PiecewiseConstantDecay changes after its boundary and not at it.
    boundaries = [round(epoch * steps_per_epoch) - 1 for epoch in epochs]
    rates = [learning_rate * factor**count for count in range(len(epochs) + 1)]
    first = warm_up_steps(warm_up, steps, steps_per_epoch)
    return WarmUp(learning_rate, first, PiecewiseConstantDecay(boundaries, rates))


def warm_up_steps(epochs: float, steps: int, steps_per_epoch: float) -> int:
    found = round(epochs * steps_per_epoch)
    if not 0 <= found < steps:
        raise InputError(f"warm_up={epochs:g} epochs have to be at least 0 and fewer than the run has")
    return found


SCHEDULES = {"cosine": cosine, "polynomial": polynomial, "step": step}
