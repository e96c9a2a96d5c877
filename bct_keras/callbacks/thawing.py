"""Lets a part of a network wait before it is trained."""

from collections.abc import Sequence
from typing import Any

import keras


class Thawing(keras.callbacks.Callback):
    """Keeps some layers as they are for the first epochs, and trains them from then on.

    Frozen layers take no gradient, and their BatchNorm keeps its means. Which epoch it is decides
    that, so a run that goes on finds its layers as they were. The optimizer has to be built for
    all of them before, as `CompatibleModel.compile` does.

    Args:
        layers: The layers that wait.
        frozen_epochs: How many epochs they wait.
    """

    def __init__(self, layers: Sequence[keras.layers.Layer], frozen_epochs: int):
        super().__init__()
        self.layers = layers
        self.frozen_epochs = frozen_epochs

    def on_epoch_begin(self, epoch, logs=None):
        self.set_trained(epoch >= self.frozen_epochs)

    def on_train_end(self, logs=None):
        self.set_trained(True)

    def set_trained(self, trained: bool) -> None:
        """Trains the layers from the next step on, or not."""
        changed = False
        for layer in self.layers:
            if layer.trainable != trained:
                layer.trainable = trained
                changed = True
        if changed:
            # Which variables are trained stands in the traced step.
            model: Any = self.model
            model.make_train_function(force=True)
