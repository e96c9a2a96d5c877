"""Checkpoints, by which a run that was broken off goes on exactly where it was."""

import contextlib
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from bct_keras import artefacts, progress
from bct_keras.distribution import workers
from bct_keras.errors import InputError, option
from bct_keras.heads.class_table import ClassTable
from bct_keras.models import CompatibleModel

AGREED_STEPS = 10  # workers ask each other so seldom whether one was asked to stop
NAME = re.compile(r"ckpt-(\d+)")  # of a checkpoint's folder
FLAT_NAME = re.compile(
    r"ckpt-(\d+)\.index"
)  # of the first file of one that an earlier version wrote
ANY_NAME = re.compile(r"\.?ckpt-(\d+)(\..*)?")  # of all that belongs to one, finished or not
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
        before = {
            number: signal.signal(number, self.note) for number in (signal.SIGTERM, signal.SIGINT)
        }
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
        self.saved_step = (
            0  # of the newest checkpoint that is known to be whole; 0 where there is none
        )
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
        faults: dict[int, str] = {}
        for step in sorted(found, reverse=True):
            fault = fault_of(found[step])
            if not fault:
                break
            faults[step] = fault
        readable = max(found.keys() - faults.keys(), default=NONE_READABLE if found else 0)
        step = workers.least(self.trained.distribute_strategy, readable)
        if step == NONE_READABLE:
            told = [f"{found[step]}: {fault}" for step, fault in faults.items()]
            raise InputError(
                "no checkpoint can be read, and none was removed"
                f" ({'; '.join(told) or 'told by another worker'}).",
                f"Put back a copy of one, or remove {self.shared} to begin the training anew",
            )
        if step and (step not in found or step in faults):
            raise InputError(
                f"{self.shared} has no checkpoint of step {step}, the last that another worker sees"
                " there"
            )
        if not workers.worker_index():
            for damaged, fault in faults.items():
                before = f"the one before it, of step {step}"
                cannot = f"this checkpoint cannot be read ({fault})"
                progress.note(f"{found[damaged]}: {cannot}; going on from {before}")
        self.damaged = set(faults)
        if step:
            try:
                self.checkpoint.restore(found[step]).assert_consumed()
            except (tf.errors.OpError, ValueError, AssertionError) as error:
                raise InputError(
                    f"{found[step]}: this checkpoint is not of this training "
                    f"({first_line(error)}); remove {self.shared} to begin anew"
                ) from None
        self.step = self.saved_step = int(self.trained.steps.numpy())
        return self.step

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
        """Stops all workers, with a checkpoint by the chief, where one was asked to.

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

        1 The new one is written beside its place, 2 read again, 3 renamed; 4 only then old ones are
        removed.
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
                    (
                        shutil.rmtree(path)
                        if path.is_dir() and not path.is_symlink()
                        else path.unlink()
                    )

    def last_good(self) -> str:
        """Returns where the last good checkpoint is, in words."""
        if not self.saved_step:
            return "there is no checkpoint yet"
        return f"the last good checkpoint is {self.folder / f'ckpt-{self.saved_step}'}"


def prefixes(folder: Path) -> dict[int, str]:
    """Returns the prefix by which TensorFlow reads each checkpoint, by its number of steps.

    Each is a folder that was renamed into its place, so it was whole once: what it lacks, it has
    lost.
    """
    found = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := NAME.fullmatch(path.name):
            found[int(match[1])] = str(path / "ckpt")
        elif match := FLAT_NAME.fullmatch(path.name):
            found.setdefault(int(match[1]), str(path.with_suffix("")))
    return found


def fault_of(prefix: str) -> str:
    """Returns why a checkpoint cannot be read, or nothing where it can.

    Every tensor is read, and its checksum compared.
    """
    try:
        reader = tf.train.load_checkpoint(prefix)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError, OSError) as error:
        return first_line(error)
    return ""


def first_line(error: Exception) -> str:
    """Returns the first line of what an error says."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def sync(path: Path) -> None:
    """Waits until a file is on the disk, so that a power cut after its renaming leaves it whole."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_finite(variable) -> bool:
    """Returns whether all of a variable's numbers are finite."""
    return bool(np.all(tf.math.is_finite(variable)))
