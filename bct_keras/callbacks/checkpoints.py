"""Checkpoints, by which a run that was broken off goes on exactly where it was."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from bct_keras import artefacts, progress
from bct_keras.callbacks.checkpoint_files import (
    ANY_NAME,
    fault_of,
    faults_of_newest,
    first_line,
    prefixes,
    remove,
    sync,
)
from bct_keras.distribution import workers
from bct_keras.errors import InputError, option
from bct_keras.heads.class_table import ClassTable
from bct_keras.models import CompatibleModel

AGREED_STEPS = 10  # workers ask each other so seldom whether one was asked to stop
NONE_READABLE = -1  # in place of a step
RESUME_STATUS = 75  # sysexits.h's EX_TEMPFAIL: nothing is wrong, start the same command again


class StoppedError(Exception):
    """Says that somebody asked the run to stop, and that it left a checkpoint."""


class StopRequest:
    """Notes whether SIGTERM or SIGINT came; a second one of them ends the process at once."""

    def __init__(self):
        self.signal = ""  # its name

    @contextlib.contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Notes signals as long as this context lasts, and gives the handlers back after it."""
        before = {}
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, self.note)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def note(self, number: int, frame) -> None:
        """Keeps the name of a signal; the second one has its usual effect."""
        if self.signal:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.signal = signal.Signals(number).name


class Checkpoints(keras.callbacks.Callback):
    """Saves everything that the next step depends on.

    It does so every few steps, after every epoch and when asked to stop.
    """

    def __init__(
        self,
        model: CompatibleModel,
        folder: Path,
        steps_per_epoch: int,
        every_steps: int = 0,
        kept: int = 2,
        stop: StopRequest | None = None,
    ):
        """Takes what is saved, and when.

        Args:
            model: What is trained.
            folder: The run's folder; checkpoints go to a folder in it.
            steps_per_epoch: Steps in each epoch.
            every_steps: Steps between checkpoints within an epoch; 0 is none.
            kept: How many checkpoints stay.
            stop: Says whether the run was asked to stop.
        """
        super().__init__()
        # Model.variables holds the states of random seeds too; metrics start anew with each epoch.
        tracked = [*model.variables, *model.optimizer.variables]
        tables = [] if model.head.table is None else [model.head.table]
        self.checkpoint = tf.train.Checkpoint(
            variables=[variable.value for variable in tracked], tables=tables
        )
        # Each worker writes its own, as TensorFlow asks; the chief's has the plain name, and all go
        # on from that one.
        worker = workers.worker_index() if workers.spans_workers(model.distribute_strategy) else 0
        self.shared = folder / "checkpoints"
        self.folder = self.shared / f"worker-{worker}" if worker else self.shared
        self.trained = model
        self.steps_per_epoch = steps_per_epoch
        self.every_steps = every_steps
        self.stop = stop or StopRequest()
        self.agreed_steps = AGREED_STEPS if workers.spans_workers(model.distribute_strategy) else 1
        self.kept = kept
        self.step = 0
        # Of the newest checkpoint that is known to be whole; 0 where there is none.
        self.saved_step = 0
        self.damaged: set[int] = set()
        # TensorFlow makes it when it is first asked for, and looks for it in files.
        _ = self.checkpoint.save_counter

    def restore(self) -> int:
        """Goes back to the newest of the chief's checkpoints that is whole.

        What is there is told by the folder itself, not by a list that may be damaged apart from it.

        Returns:
            The number of steps done.
        """
        found = prefixes(self.shared)
        faults = faults_of_newest(found)
        step = self.agreed_step(found, faults)
        if not workers.worker_index():
            for damaged, fault in faults.items():
                before = f"the one before it, of step {step}"
                cannot = f"this checkpoint cannot be read ({fault})"
                progress.note(f"{found[damaged]}: {cannot}; going on from {before}")
        self.damaged = set(faults)
        if step:
            self.read(found[step])
        self.step = self.saved_step = int(self.trained.steps.numpy())
        return self.step

    def agreed_step(self, found: dict[int, str], faults: dict[int, str]) -> int:
        """Returns the step that all workers go on from; 0 where there is no checkpoint.

        Args:
            found: The checkpoints that this worker sees, by step.
            faults: Why the newest of them cannot be read, by step.
        """
        whole = found.keys() - faults.keys()
        readable = max(whole, default=NONE_READABLE if found else 0)
        step = workers.least(self.trained.distribute_strategy, readable)
        if step == NONE_READABLE:
            told = [f"{found[step]}: {fault}" for step, fault in faults.items()]
            raise InputError(
                "no checkpoint can be read, and none was removed "
                f"({'; '.join(told) or 'told by another worker'}).",
                f"Put back a copy of one, or remove {self.shared} to begin the training anew",
            )
        if step and (step not in found or step in faults):
            raise InputError(
                f"{self.shared} has no checkpoint of step {step}, "
                "the last that another worker sees there"
            )
        return step

    def read(self, prefix: str) -> None:
        """Reads a checkpoint into all that is trained."""
        try:
            status = self.checkpoint.restore(prefix)
            status.assert_consumed()
        except (tf.errors.OpError, ValueError, AssertionError) as error:
            raise InputError(
                f"{prefix}: this checkpoint is not of this training "
                f"({first_line(error)}); remove {self.shared} to begin anew"
            ) from None

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        # After the last step the end of the epoch is to come, with its line and its validation.
        if self.step % self.steps_per_epoch:
            if self.every_steps and self.step % self.every_steps == 0:
                self.save()
            if self.step % self.agreed_steps == 0:
                self.stop_if_asked()

    def on_epoch_end(self, epoch, logs=None):
        self.save()
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Stops all workers, with a checkpoint by the chief, where one of them was asked to.

        Every worker has to come here.
        """
        if workers.least(self.trained.distribute_strategy, not self.stop.signal):
            return
        self.save()
        by = self.stop.signal or "a signal to another worker"
        raise StoppedError(
            f"stopped by {by} after step {self.step}; the same command goes on from there"
        )

    def save(self) -> None:
        """Saves a checkpoint in steps that never leave none.

        1. The new one is written beside its place.
        2. It is read again.
        3. It is renamed.
        4. Only then are old ones removed.
        """
        if self.saved_step and self.saved_step == self.step:
            return
        learned = [variable.value for variable in self.trained.trainable_variables]
        if self.trained.head.table is not None:
            learned += self.trained.head.table.variables[ClassTable.WEIGHTS]
        if not all(is_finite(variable) for variable in learned):
            raise InputError(
                f"after step {self.step} a weight is not a finite number; {self.last_good()}; "
                f"try a lower {option('learning_rate')}, or {option('on_nan', 'skip')}"
            )
        try:
            with artefacts.new_folder(self.folder / f"ckpt-{self.step}", replace=True) as folder:
                self.checkpoint.write(str(folder / "ckpt"))
                fault = fault_of(str(folder / "ckpt"))
                if fault:
                    raise OSError(f"what was written cannot be read: {fault}")
                for path in folder.iterdir():
                    sync(path)
        except (tf.errors.OpError, OSError) as error:
            raise InputError(
                f"{self.folder}: no checkpoint could be written ({first_line(error)}); "
                f"{self.last_good()}. Make room and start the same command again"
            ) from None
        self.saved_step = self.step
        self.damaged.discard(self.step)
        self.remove_old()

    def remove_old(self) -> None:
        """Removes all but the newest few.

        Those that cannot be read, or are of later steps, do not count among these.
        """
        whole = []
        for step in sorted(prefixes(self.folder)):
            if step <= self.step and step not in self.damaged:
                whole.append(step)
        for path in list(self.folder.iterdir()):
            match = ANY_NAME.fullmatch(path.name)
            if match and int(match[1]) not in whole[-self.kept :]:
                with contextlib.suppress(OSError):
                    remove(path)

    def last_good(self) -> str:
        """Returns where the last good checkpoint is, in words."""
        if not self.saved_step:
            return "there is no checkpoint yet"
        return f"the last good checkpoint is {self.folder / f'ckpt-{self.saved_step}'}"


def is_finite(variable) -> bool:
    """Tells whether all of a variable's numbers are finite."""
    return bool(np.all(tf.math.is_finite(variable)))
