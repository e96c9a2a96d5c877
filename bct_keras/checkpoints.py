"""How a run that was broken off goes on exactly where it was."""

import contextlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from bct_keras import distribution
from bct_keras.errors import InputError
from bct_keras.heads.class_table import ClassTable
from bct_keras.model import CompatibleModel

AGREED_STEPS = 10  # workers ask each other so seldom whether one was asked to stop
RESUME_STATUS = 75  # sysexits.h's EX_TEMPFAIL: nothing is wrong, start the same command again


class StoppedError(Exception):
    """Somebody asked the run to stop, and it left a checkpoint."""


class StopRequest:
    """Whether SIGTERM or SIGINT came; a second one of them ends the process at once."""

    def __init__(self):
        self.signal = ""  # its name

    @contextlib.contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        before = {number: signal.signal(number, self.note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def note(self, number: int, frame) -> None:
        if self.signal:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.signal = signal.Signals(number).name


class Checkpoints(keras.callbacks.Callback):
    """Everything that the next step depends on, every few steps, after every epoch and when asked to stop."""

    def __init__(
        self,
        model: CompatibleModel,
        folder: Path,
        steps_per_epoch: int,
        every_steps: int = 0,
        kept: int = 2,
        stop: StopRequest | None = None,
    ):
        super().__init__()
        # Model.variables holds the states of random seeds too; metrics start anew with each epoch.
        tracked = [*model.variables, *model.optimizer.variables]
        tables = [] if model.head.table is None else [model.head.table]
        self.checkpoint = tf.train.Checkpoint(variables=[variable.value for variable in tracked], tables=tables)
        # Each worker writes its own, as TensorFlow asks; the chief's has the plain name, and all go on from that one.
        worker = distribution.worker_index() if distribution.spans_workers(model.distribute_strategy) else 0
        self.shared = folder / "checkpoints"
        self.folder = self.shared / f"worker-{worker}" if worker else self.shared
        self.manager = tf.train.CheckpointManager(self.checkpoint, str(self.folder), kept)
        self.trained = model
        self.steps_per_epoch = steps_per_epoch
        self.every_steps = every_steps
        self.stop = stop or StopRequest()
        self.agreed_steps = AGREED_STEPS if distribution.spans_workers(model.distribute_strategy) else 1
        self.step = 0

    def restore(self) -> int:
        """Back to the chief's last checkpoint, if there is one; returns the number of steps done."""
        state = tf.train.get_checkpoint_state(str(self.shared))
        found = {step_of(path): path for path in (state.all_model_checkpoint_paths if state else ())}
        step = distribution.least(self.trained.distribute_strategy, max(found, default=0))
        if step and step not in found:
            raise InputError(f"{self.shared} has no checkpoint of step {step}, the last that another worker sees there")
        if step:
            try:
                self.checkpoint.restore(found[step]).assert_consumed()
            except (tf.errors.OpError, IndexError, ValueError, AssertionError) as error:
                raise InputError(
                    f"{found[step]}: this checkpoint cannot be read ({str(error).splitlines()[0]}); remove its files "
                    f"and its lines in {self.shared / 'checkpoint'} to go on from an earlier one"
                ) from None
        self.step = int(self.trained.steps.numpy())
        return self.step

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self.step % self.steps_per_epoch:  # else the end of the epoch is to come, with its line and its validation
            if self.every_steps and self.step % self.every_steps == 0:
                self.save()
            if self.step % self.agreed_steps == 0:
                self.stop_if_asked()

    def on_epoch_end(self, epoch, logs=None):
        self.save()
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Every worker has to come here: what stops one of them stops all, with a checkpoint by the chief."""
        if distribution.least(self.trained.distribute_strategy, not self.stop.signal):
            return
        self.save()
        by = self.stop.signal or "a signal to another worker"
        raise StoppedError(f"stopped by {by} after step {self.step}; the same command goes on from there")

    def save(self) -> None:
        if self.manager.latest_checkpoint and step_of(self.manager.latest_checkpoint) == self.step:
            return
        learned = [variable.value for variable in self.trained.trainable_variables]
        if self.trained.head.table is not None:
            learned += self.trained.head.table.variables[ClassTable.WEIGHTS]
        if not all(is_finite(variable) for variable in learned):
            raise InputError(
                f"after step {self.step} a weight is not a finite number; {self.last_good()}; try a lower "
                "--learning_rate, or --on_nan=skip"
            )
        try:
            self.manager.save(checkpoint_number=self.step)
        except (tf.errors.OpError, OSError) as error:
            self.remove_half_written()
            raise InputError(
                f"{self.folder}: no checkpoint could be written ({str(error).splitlines()[0]}); {self.last_good()}. "
                "Make room and start the same command again"
            ) from None

    def remove_half_written(self) -> None:
        for path in self.folder.glob(f"ckpt-{self.step}*"):
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def last_good(self) -> str:
        latest = self.manager.latest_checkpoint
        return f"the last good checkpoint is {latest}" if latest else "there is no checkpoint yet"


def step_of(path: str) -> int:
    return int(path.rpartition("-")[2])


def is_finite(variable) -> bool:
    return bool(np.all(tf.math.is_finite(variable)))
