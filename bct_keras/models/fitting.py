"""What `fit` needs beside Keras's own: how long the training is, several workers, and plain errors."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from bct_keras import distribution
from bct_keras._keras import BuiltByHand
from bct_keras.errors import InputError
from bct_keras.heads import head
from bct_keras.methods import old_embeddings


class AcrossWorkers(BuiltByHand):
    """A model whose steps several workers may take together."""

    def make_train_function(self, force=False):
        """Reduces a step's results as several workers need it, where Keras's own fails; they are equal on each."""
        if not distribution.spans_workers(self.distribute_strategy):
            super().make_train_function(force)
        elif self.train_function is None or force:

            @tf.function
            def train_function(iterator):
                strategy = self.distribute_strategy
                logs = strategy.run(self.train_step, args=(next(iterator),))
                return tf.nest.map_structure(lambda value: strategy.reduce("MEAN", value, None), logs)

            self.train_function = train_function


class Planning(keras.callbacks.Callback):
    """Tells the model how long the training will be, once Keras knows."""

    def __init__(self, first_epoch: int):
        super().__init__()
        self.first_epoch = first_epoch

    def on_train_begin(self, logs=None):
        model: Any = self.model
        params: Any = self.params or {}
        if "epochs" in params:
            model.plan(params["epochs"], params.get("steps"), self.first_epoch)


def with_callbacks(given: Any, own: list[Any], model: keras.Model) -> Any:
    """Returns the callbacks that a user has given `fit`, in any of the forms that Keras takes, with ours."""
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
