"""What happens around the steps of `fit`: what a person sees, and what is watched."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import keras

from bct_keras import artefacts, progress
from bct_keras.errors import InputError, option
from bct_keras.models import CompatibleModel
from bct_keras.untrusted.reading import read_text

SECONDS_BETWEEN_LINES = 60.0
SECONDS_TO_FIRST_LINE = 5.0
NAMED_RECORDS = 8  # of a step that failed


class TrainingProgress(keras.callbacks.Callback):
    """Shows how far a training has come.

    It is a bar over all steps where somebody is watching, and else a line now and then; besides
    it there is a line after every epoch.
    """

    def __init__(
        self,
        model: CompatibleModel,
        epochs: int,
        steps_per_epoch: int,
        first_step: int,
        batch_size: int,
    ):
        """Begins with the bar.

        Args:
            model: What is trained.
            epochs: All epochs of the run.
            steps_per_epoch: Steps in each.
            first_step: How many steps were done before.
            batch_size: Images in a step.
        """
        super().__init__()
        self.trained = model
        self.epochs = epochs
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.step = first_step
        steps = epochs * steps_per_epoch
        self.bar = progress.bar("training", steps, unit="steps", delay=0.0)
        self.bar.update(first_step)
        self.line_at = time.monotonic() + SECONDS_TO_FIRST_LINE
        self.has_begun = False

    def on_epoch_begin(self, epoch, logs=None):
        self.started = self.last_step_at = time.monotonic()
        self.first_step = self.step

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self.last_step_at = time.monotonic()
        self.bar.update()
        if not self.has_begun:
            self.tell_first_step()
        elif not self.bar.disable:
            self.bar.set_postfix_str(shown(logs or {}), refresh=False)
        elif time.monotonic() > self.line_at:
            self.line_at = time.monotonic() + SECONDS_BETWEEN_LINES
            steps = self.epochs * self.steps_per_epoch
            seconds = (steps - self.step) / self.steps_per_second()
            where = f"step {self.step:,}/{steps:,}"
            self.say(where, logs, f"{seconds / 60:,.0f} min left")

    def tell_first_step(self) -> None:
        """Tells how long the first step took, if long: the network is compiled for it.

        It counts in no rate, unless there is no other step.
        """
        self.has_begun = True
        seconds = self.last_step_at - self.started
        if seconds > SECONDS_TO_FIRST_LINE:
            self.bar.write(f"first step, for which the network is compiled: {seconds:.0f} s")
        if self.steps_per_epoch > 1:
            self.first_step = self.step
            self.started = self.last_step_at

    def on_epoch_end(self, epoch, logs=None):
        self.say(f"epoch {epoch + 1}/{self.epochs}", logs)

    def say(self, where: str, logs, *more: str) -> None:
        """Prints a line.

        Args:
            where: The step or epoch, in words.
            logs: The metrics.
            more: Anything else to tell.
        """
        learning_rate = float(self.trained.optimizer.learning_rate)
        images = self.batch_size * self.steps_per_second()
        parts = [
            shown(logs or {}),
            f"learning rate {learning_rate:.3g}",
            f"{images:,.0f} images/s",
            *more,
        ]
        self.bar.write(f"{where}: {', '.join(parts)}")

    def steps_per_second(self) -> float:
        """Returns the rate since the epoch began."""
        # Up to the last step, so that the time of a validation does not count.
        steps = self.step - self.first_step
        seconds = self.last_step_at - self.started
        return steps / max(seconds, 1e-9)

    def on_train_end(self, logs=None):
        if self.step >= self.epochs * self.steps_per_epoch:
            self.bar.close()


def shown(logs: dict[str, float]) -> str:
    """Returns metrics as text.

    Of a validation the cross-test alone is shown; metrics.jsonl has the rest.
    """
    parts = []
    for name, value in logs.items():
        if not name.startswith(("val old/old", "val new/new")):
            parts.append(f"{name} {value:.4g}")
    return ", ".join(parts)


class MetricsFile(keras.callbacks.Callback):
    """Writes a line of metrics.jsonl after every epoch.

    Its metrics are means over the steps since the epoch began, or since the run went on.
    """

    def __init__(self, path: Path, epochs_done: int):
        """Keeps the lines of the epochs that are done."""
        super().__init__()
        self.path = path
        # An epoch that is done again gets its line again.
        lines = read_text(path).splitlines()[:epochs_done] if path.exists() else []
        artefacts.write_atomically(path, "".join(f"{line}\n" for line in lines))

    def on_epoch_end(self, epoch, logs=None):
        line = json.dumps({"epoch": epoch + 1, **(logs or {})})
        with self.path.open("a") as file:
            file.write(line + "\n")


class TimesFile(keras.callbacks.Callback):
    """Writes a line of times.jsonl after every epoch.

    It has the epoch's steps, and the seconds since the epoch before it had ended, so that all
    that a method does between epochs counts. Times do not stand in metrics.jsonl, which is the
    same whenever a run is repeated.
    """

    def __init__(self, path: Path):
        super().__init__()
        self.path = path

    def on_train_begin(self, logs=None):
        self.start()

    def start(self) -> None:
        """Begins to count the steps and the time of an epoch."""
        self.steps = 0
        self.started = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1

    def on_epoch_end(self, epoch, logs=None):
        seconds = round(time.monotonic() - self.started, 4)
        line = json.dumps({"epoch": epoch + 1, "steps": self.steps, "seconds": seconds})
        with self.path.open("a") as file:
            file.write(line + "\n")
        self.start()


class FiniteLoss(keras.callbacks.Callback):
    """Stops at a loss that is NaN or infinite, or after too many steps were dropped for it."""

    def __init__(
        self,
        model: CompatibleModel,
        nan_limit: int,
        ids_of_step: Callable[[int], list[str]],
        last_good: Callable[[], str],
    ):
        """Takes what is watched, and what an error tells.

        Args:
            model: What is trained.
            nan_limit: How many steps may be dropped.
            ids_of_step: Returns the ids of a step's records.
            last_good: Tells where the last good checkpoint is.
        """
        super().__init__()
        self.trained = model
        self.nan_limit = nan_limit
        self.ids_of_step = ids_of_step
        self.last_good = last_good

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            self.fail(f"the loss is {loss}")
        if self.trained.drop_not_finite:
            dropped = int(self.trained.dropped.numpy())
            if dropped > self.nan_limit:
                self.fail(
                    f"{dropped} steps had a loss or a gradient that is no finite number, and "
                    f"{self.nan_limit} may be dropped ({option('nan_limit')}, and no more than a "
                    "tenth of the run)"
                )

    def on_epoch_end(self, epoch, logs=None):
        if self.trained.drop_not_finite and logs is not None:
            logs["dropped_steps"] = int(self.trained.dropped.numpy())

    def fail(self, what: str) -> None:
        """Raises an error that names the step, its records, and what to do."""
        step = int(self.trained.steps.numpy())
        ids = self.ids_of_step(step - 1)
        records = ", ".join(ids[:NAMED_RECORDS])
        if len(ids) > NAMED_RECORDS:
            records += f" and {len(ids) - NAMED_RECORDS} more"
        what_to_try = f"try a lower {option('learning_rate')}, or {option('on_nan', 'skip')}"
        raise InputError(
            f"{what} in step {step}; {self.last_good()}; {what_to_try}",
            f"its records: {records}",
        )
