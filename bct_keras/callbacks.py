"""What happens around the steps of `fit`: what a person sees, what is kept, and how a run goes on."""

import json
import math
import time
from pathlib import Path

import keras
import tensorflow as tf

from bct_keras import artefacts, progress
from bct_keras.errors import InputError


class TrainingProgress(keras.callbacks.Callback):
    """A bar over all steps where somebody is watching, and a line after every epoch."""

    def __init__(self, epochs: int, steps_per_epoch: int, first_epoch: int, batch_size: int):
        super().__init__()
        self.epochs = epochs
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.bar = progress.bar("training", epochs * steps_per_epoch, unit="steps")
        self.bar.update(first_epoch * steps_per_epoch)

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()
        if not self.bar.disable and logs:
            self.bar.set_postfix(loss=f"{float(logs['loss']):.3f}", refresh=False)

    def on_epoch_end(self, epoch, logs):
        rate = self.batch_size * self.steps_per_epoch / (time.monotonic() - self.started)
        values = ", ".join(f"{name} {value:.4g}" for name, value in logs.items())
        self.bar.write(f"epoch {epoch + 1}/{self.epochs}: {values}, {rate:,.0f} images/s")

    def on_train_end(self, logs=None):
        self.bar.close()


class Checkpoints(keras.callbacks.Callback):
    """Everything that the next epoch depends on, after every epoch, and a line of metrics.jsonl with it."""

    KEPT = 2

    def __init__(self, model: keras.Model, folder: Path, steps_per_epoch: int):
        super().__init__()
        # Model.variables holds the states of random seeds too; metrics start anew with each epoch.
        tracked = [*model.variables, *model.optimizer.variables]
        self.checkpoint = tf.train.Checkpoint(variables=[variable.value for variable in tracked])
        self.manager = tf.train.CheckpointManager(self.checkpoint, str(folder / "checkpoints"), self.KEPT)
        self.metrics = folder / "metrics.jsonl"
        self.iterations = model.optimizer.iterations
        self.steps_per_epoch = steps_per_epoch

    def restore(self) -> int:
        """Back to the last checkpoint, if there is one; returns the number of epochs done."""
        if self.manager.latest_checkpoint:
            self.checkpoint.restore(self.manager.latest_checkpoint).assert_consumed()
        done = int(self.iterations.numpy()) // self.steps_per_epoch
        lines = self.metrics.read_text().splitlines()[:done] if self.metrics.exists() else []
        artefacts.write_atomically(self.metrics, "".join(f"{line}\n" for line in lines))
        return done

    def on_epoch_end(self, epoch, logs):
        if not math.isfinite(logs["loss"]):
            raise InputError(f"the loss is {logs['loss']} in epoch {epoch + 1}; try a lower --learning_rate")
        with self.metrics.open("a") as file:
            file.write(json.dumps({"epoch": epoch + 1, **logs}) + "\n")
        self.manager.save(checkpoint_number=epoch + 1)
