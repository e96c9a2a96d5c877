"""One training run: from a recipe and data to a saved encoder, in as many sittings as it takes."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import flags

from bct_keras import artefacts, distribution, failures, old_head
from bct_keras.callbacks import FiniteLoss, MetricsFile, TimesFile, TrainingProgress
from bct_keras.checkpoints import Checkpoints, StopRequest
from bct_keras.data.dataset import DataSet
from bct_keras.data.embeddings import EmbeddingShards
from bct_keras.data.input import ids_of_step, training_batches
from bct_keras.encoders import ENCODER_FILE, HEAD_FILE, RUN_KIND
from bct_keras.methods.method import Method, Training
from bct_keras.models import CompatibleModel
from bct_keras.recipe import Recipe
from bct_keras.tensorboard import TensorBoardLog, write_projector
from bct_keras.validation import BEST, BEST_HEAD, Validation

UNFINISHED_KIND = "unfinished run"


@dataclass(frozen=True)
class Watch:
    """What is kept and shown while training; none of it changes what is trained."""

    checkpoint_steps: int  # besides those after every epoch; 0 is none
    checkpoints_kept: int
    nan_limit: int
    validation: Validation | None


def train(
    recipe: Recipe,
    data: DataSet,
    old: EmbeddingShards | None,
    strategy: tf.distribute.Strategy,
    workdir: Path,
    watch: Watch,
) -> None:
    made_from = recipe.described() | {
        "data": data.fingerprint,
        "old_embeddings": old.fingerprint if old else None,
    }
    if watch.validation:
        made_from |= watch.validation.made_from()
    steps = recipe.steps_per_epoch(data.records, strategy.num_replicas_in_sync)
    if not distribution.chief_first(strategy, lambda: start(workdir, made_from, data)):
        print(f"{workdir} is up to date")
        return
    with strategy.scope():
        method = recipe.build_method()
        micro_steps = steps * recipe.epochs * recipe.micro_batches
        source = old_head.source(old) if old else None
        method.prepare(source, Training(data.classes, recipe.old_dims, recipe.epochs, micro_steps))
        model = recipe.build_model(data.image_size, data.classes, steps * recipe.epochs, method)
    with StopRequest().listening() as stop:
        checkpoints = Checkpoints(model, workdir, steps, watch.checkpoint_steps, watch.checkpoints_kept, stop)
        done = checkpoints.restore()
        say_start(workdir, data, steps, strategy, done)
        with failures.told(workdir, data, strategy, checkpoints.last_good):
            fit(recipe, data, old, method, model, checkpoints, workdir, watch)
            say_dropped(model)
            if distribution.worker_index() == 0:
                finish(recipe, model, data, workdir, made_from, watch.validation)
    distribution.barrier(strategy)


def finish(
    recipe: Recipe,
    model: CompatibleModel,
    data: DataSet,
    workdir: Path,
    made_from: dict,
    validation: Validation | None,
) -> None:
    with model.averaged():
        encoder = recipe.build_encoder(model.backbone, data.image_size)
    best = validation.best if validation else None
    if best:
        artefacts.write_beside(workdir / ENCODER_FILE, lambda path: shutil.copy(workdir / BEST, path))
        artefacts.write_beside(workdir / HEAD_FILE, lambda path: shutil.copy(workdir / BEST_HEAD, path))
        encoder.load_weights(workdir / BEST)
    else:
        artefacts.write_beside(workdir / ENCODER_FILE, encoder.save)
        artefacts.write_beside(workdir / HEAD_FILE, model.head.save)
    write_projector(workdir / "log", encoder, data)
    facts = {"best_epoch": best.epoch, best.metric: best.value} if best else {}
    artefacts.write_manifest(
        workdir, RUN_KIND, made_from, encoder=artefacts.file_sha256(workdir / ENCODER_FILE), **facts
    )
    shutil.rmtree(workdir / "checkpoints")


def say_start(workdir: Path, data: DataSet, steps: int, strategy: tf.distribute.Strategy, done: int) -> None:
    print(
        f"training {workdir}: {data.records:,} images of {data.classes:,} identities, {steps} steps an epoch, "
        f"{strategy.num_replicas_in_sync} replica(s)" + (f", going on after step {done}" if done else ""),
        flush=True,
    )


def say_dropped(model: CompatibleModel) -> None:
    dropped, steps = int(model.dropped.numpy()), int(model.steps.numpy())
    if dropped and distribution.worker_index() == 0:
        print(f"{dropped:,} of {steps:,} steps were dropped, whose loss or gradient was no finite number", flush=True)


def allowed_to_drop(nan_limit: int, steps: int) -> int:
    """A run that dropped more than a tenth of its steps has trained something else than was asked for."""
    return min(nan_limit, steps // 10)


def fit(
    recipe: Recipe,
    data: DataSet,
    old: EmbeddingShards | None,
    method: Method,
    model: CompatibleModel,
    checkpoints: Checkpoints,
    workdir: Path,
    watch: Watch,
) -> None:
    """Keras's own, called once for what is left of a broken epoch and once for the whole ones."""
    steps = checkpoints.steps_per_epoch
    callbacks = [
        FiniteLoss(
            model,
            allowed_to_drop(watch.nan_limit, steps * recipe.epochs),
            lambda step: ids_of_step(data, recipe.batch_size, recipe.seed, step),
            checkpoints.last_good,
        ),
        *([watch.validation.watching(model, recipe, data.image_size, workdir)] if watch.validation else []),
        TrainingProgress(model, recipe.epochs, steps, checkpoints.step, recipe.batch_size),
    ]
    if distribution.worker_index() == 0:
        callbacks += [
            MetricsFile(workdir / "metrics.jsonl", checkpoints.step // steps),
            TimesFile(workdir / "times.jsonl"),
            TensorBoardLog(model, workdir / "log"),
        ]
    callbacks.append(checkpoints)
    for first_step, last_epoch in stretches(checkpoints.step, steps, recipe.epochs):
        first_epoch, skipped = divmod(first_step, steps)
        model.fit(
            batches_of(recipe, data, old, method, model.distribute_strategy, first_step),
            initial_epoch=first_epoch,
            epochs=last_epoch,
            steps_per_epoch=steps - skipped,
            shuffle=False,
            verbose=0,  # pyright: ignore[reportArgumentType]
            callbacks=callbacks,
        )


def batches_of(
    recipe: Recipe,
    data: DataSet,
    old: EmbeddingShards | None,
    method: Method,
    strategy: tf.distribute.Strategy,
    first_step: int,
) -> Any:
    """Each worker takes its rows of every batch, so that they together see what one process would."""
    return strategy.distribute_datasets_from_function(
        lambda context: training_batches(
            data,
            old,
            method.needs,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            first_step=first_step,
            epochs=recipe.epochs,
            mirror=recipe.mirror,
            context=context,
        )
    )


def stretches(done: int, steps: int, epochs: int) -> list[tuple[int, int]]:
    """(first step, last epoch) of each call of `fit`: it can only begin an epoch at its first step."""
    found = []
    if done % steps:
        found.append((done, done // steps + 1))
        done += steps - done % steps
    if done < steps * epochs:
        found.append((done, epochs))
    return found


def start(workdir: Path, made_from: dict, data: DataSet) -> bool:
    """Whether there is anything left to train; flags.txt runs it again."""
    kind = RUN_KIND if workdir.is_dir() and artefacts.kind_of(workdir) == RUN_KIND else UNFINISHED_KIND
    if artefacts.is_current(workdir, kind, made_from) and kind == RUN_KIND:
        return False
    data.check_content()  # before anything is written
    if distribution.worker_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        artefacts.write_atomically(workdir / "flags.txt", flags.FLAGS.flags_into_string())
        artefacts.write_manifest(workdir, UNFINISHED_KIND, made_from)
    return True
