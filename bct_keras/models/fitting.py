"""Adds what `fit` needs beside Keras's own: a plan, several workers, plain errors."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from bct_keras._keras import BuiltByHand
from bct_keras.distribution import workers
from bct_keras.errors import InputError
from bct_keras.heads import head
from bct_keras.methods import old_embeddings
from bct_keras.methods.method import Method


class AcrossWorkers(BuiltByHand):
    """Is a model whose steps several workers may take together."""

    def make_train_function(self, force=False):
        """Makes a function that takes a step on every worker, where Keras's own fails."""
        if not workers.spans_workers(self.distribute_strategy):
            super().make_train_function(force)
        elif self.train_function is None or force:

            @tf.function
            def train_function(iterator):
                strategy = self.distribute_strategy
                logs = strategy.run(self.train_step, args=(next(iterator),))
                return tf.nest.map_structure(
                    lambda value: strategy.reduce("MEAN", value, None), logs
                )

            self.train_function = train_function


class Planning(keras.callbacks.Callback):
    """Tells a method how long the training will be, once Keras knows.

    A method that was told the length of a whole run, of several calls of `fit`, keeps that.
    """

    def __init__(self, method: Method, first_epoch: int):
        super().__init__()
        self.method = method
        self.first_epoch = first_epoch

    def on_train_begin(self, logs=None):
        params: Any = self.params or {}
        if self.method.knows_whole_run or "epochs" not in params:
            return
        model: Any = self.model
        epochs, steps_per_epoch = params["epochs"], params.get("steps")
        steps = 0
        if steps_per_epoch:
            steps = int(model.steps.numpy()) + (epochs - self.first_epoch) * steps_per_epoch
        before = (self.method.epochs, self.method.steps)
        self.method.plan(epochs, steps * model.micro_batches)
        if (self.method.epochs, self.method.steps) != before:
            # They stand in the traced steps as plain numbers.
            model.make_train_function(force=True)
            model.make_test_function(force=True)


def check_filled(method: Method) -> None:
    """Raises where a method would compare with zeros.

    A clone of a model has no constants, only their shapes.
    """
    if method.built and not method.is_filled():
        raise InputError(
            f"the method {type(method).__name__} of this copy has not seen the old embeddings:"
            " compile it with old=..., or give it the weights of the model that it is a copy of"
        )


def with_callbacks(given: Any, own: list[Any], model: keras.Model) -> Any:
    """Returns the callbacks that a user gave `fit`, in any form that Keras takes, with ours."""
    if isinstance(given, keras.callbacks.CallbackList):
        for callback in own:
            callback.set_model(model)
            callback.set_params(given.params)
        given.callbacks.extend(own)
        return given
    return [*own, *keras.tree.flatten(given or [])]


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Says what a step or the data refused without what TensorFlow says around it."""
    try:
        yield
    except tf.errors.OpError as error:
        refused = head.refusal(error) or old_embeddings.refusal(error)
        if refused is None:
            raise
        raise InputError(refused) from None
