"""What goes on around the steps of a run: what is kept and shown, and in which order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras

from bct_keras.callbacks.tensorboard import TensorBoardLog
from bct_keras.callbacks.thawing import Thawing
from bct_keras.callbacks.watching import FiniteLoss, MetricsFile, TimesFile, TrainingProgress
from bct_keras.train import start as starts
from bct_keras.train.looking import Look
from bct_keras.train.validation import Validation

if TYPE_CHECKING:
    from bct_keras.train.trainer import Run


@dataclass(frozen=True)
class Watch:
    """What is kept and shown while training; none of it changes what is trained."""

    checkpoint_steps: int  # besides those after every epoch; 0 is none
    checkpoints_kept: int
    nan_limit: int
    validation: Validation | None
    keep: Callable[[], None] | None = None  # called after each epoch, when its checkpoint is there


def callbacks(run: "Run") -> list[keras.callbacks.Callback]:
    """Returns what goes on around the steps.

    Checkpoints come last, after all that they keep.
    """
    done = run.checkpoints.step
    steps = run.steps_per_epoch
    recipe = run.recipe
    found: list[keras.callbacks.Callback] = []
    if recipe.frozen_epochs:
        layers = starts.taken_layers(run.model.backbone)
        found.append(Thawing(layers, recipe.frozen_epochs))
    found.append(
        FiniteLoss(
            run.model,
            nan_limit=allowed_to_drop(run.watch.nan_limit, run.steps),
            ids_of_step=run.ids_of_step,
            last_good=run.checkpoints.last_good,
        )
    )
    validation = run.watch.validation
    if validation:
        found.append(validation.watching(run.model, recipe, run.data.image_size, run.workdir))
    found.append(
        TrainingProgress(
            run.model,
            epochs=recipe.epochs,
            steps_per_epoch=steps,
            first_step=done,
            batch_size=recipe.batch_size,
        )
    )
    if run.is_chief:
        found.append(MetricsFile(run.workdir / "metrics.jsonl", done // steps))
        found.append(TimesFile(run.workdir / "times.jsonl"))
        log = run.workdir / "log"
        size = recipe.batch_size
        found.append(TensorBoardLog(run.model, log, run.flags, Look(run), batch_size=size))
    found.append(run.checkpoints)
    keep = run.watch.keep
    if keep:
        found.append(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: keep()))
    return found


def allowed_to_drop(nan_limit: int, steps: int) -> int:
    """Returns how many steps may be dropped: the limit, or a tenth of all steps.

    Beyond that it is another training than asked for.
    """
    return min(nan_limit, steps // 10)
