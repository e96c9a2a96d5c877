"""One training run: from a recipe and data to a saved encoder, in as many sittings as it takes."""

import shutil
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import tensorflow as tf

from bct_keras import artefacts
from bct_keras.callbacks.checkpoints import Checkpoints, StopRequest
from bct_keras.data.dataset import DataSet
from bct_keras.data.embeddings import EmbeddingShards
from bct_keras.distribution import workers
from bct_keras.embed.credible import with_fields
from bct_keras.encoders import ENCODER_FILE, HEAD_FILE, RUN_KIND
from bct_keras.errors import InputError, option
from bct_keras.methods.method import Method, Training
from bct_keras.models import CompatibleModel
from bct_keras.progress import Say, silent
from bct_keras.train import failures, old_head, resized, watching
from bct_keras.train.class_batches import ClassBatches
from bct_keras.train.input import ids_of_step, training_batches
from bct_keras.train.projector import write_projector
from bct_keras.train.recipe import Recipe
from bct_keras.train.validation import BEST, BEST_HEAD
from bct_keras.train.watching import Watch

UNFINISHED_KIND = "unfinished run"


@dataclass
class Run:
    """One training run in a folder of its own.

    `train` takes its steps in their order: `start`, `build`, `resume`, `fit`, `finish`. A run that
    was broken off takes them all again, and goes on at the step of its last checkpoint.
    """

    recipe: Recipe
    data: DataSet
    old: EmbeddingShards | None
    strategy: tf.distribute.Strategy
    workdir: Path
    watch: Watch
    flags: str = ""  # the text of flags.txt: what starts this run again
    say: Say = silent
    starts_from: str = ""  # in words, from `start` on

    method: Method = field(init=False)  # these three from `build` and `resume` on
    model: CompatibleModel = field(init=False)
    checkpoints: Checkpoints = field(init=False)

    def train(self) -> None:
        """Trains the encoder, unless the folder holds it already."""
        # What does not fit together is told before anything is written.
        replicas = self.strategy.num_replicas_in_sync
        data = self.data
        self.recipe.check_data(data.records, data.classes, replicas, data.image_size)
        if not workers.chief_first(self.strategy, self.start):
            self.say(f"{self.workdir} is up to date")
            return
        self.build()
        with StopRequest().listening() as stop:
            self.resume(stop)
            self.say(self.what_is_trained())
            last_good = self.checkpoints.last_good
            with failures.told(self.workdir, self.data, self.strategy, last_good):
                self.fit()
                if self.is_chief:
                    self.finish()
        workers.barrier(self.strategy)

    @property
    def is_chief(self) -> bool:
        """Tells whether this process writes what all workers share."""
        return workers.worker_index() == 0

    @property
    def steps_per_epoch(self) -> int:
        """The whole batches of an epoch."""
        replicas = self.strategy.num_replicas_in_sync
        return self.recipe.steps_per_epoch(self.data.records, replicas)

    @property
    def steps(self) -> int:
        """The steps of the whole run."""
        return self.steps_per_epoch * self.recipe.epochs

    @cached_property
    def described(self) -> dict[str, Any]:
        """The recipe, with the content of the file that it starts from, as it was at first."""
        return self.recipe.described()

    def made_from(self) -> dict[str, Any]:
        """Returns what decides the encoder that the run leaves, for its manifest."""
        made_from = dict(self.described)
        made_from["data"] = self.data.fingerprint
        made_from["old_embeddings"] = self.old.fingerprint if self.old else None
        if self.watch.validation:
            made_from |= self.watch.validation.made_from()
        return made_from

    def start(self) -> bool:
        """Makes the folder ready and returns True, or False where it holds the trained encoder."""
        finished = self.workdir.is_dir() and artefacts.kind_of(self.workdir) == RUN_KIND
        kind = RUN_KIND if finished else UNFINISHED_KIND
        made_from = self.made_from()
        if finished:
            self.check_longer(made_from)
        if artefacts.is_current(self.workdir, kind, made_from) and finished:
            return False
        # Before anything is written
        self.data.check_content()
        if self.recipe.start:
            with resized.telling(self.data.folder):
                self.starts_from = self.recipe.started(self.data.image_size).said
        if self.is_chief:
            self.workdir.mkdir(parents=True, exist_ok=True)
            artefacts.write_atomically(self.workdir / "flags.txt", self.flags)
            artefacts.write_manifest(self.workdir, UNFINISHED_KIND, made_from)
        return True

    def check_longer(self, made_from: dict[str, Any]) -> None:
        """Raises where a finished run is asked for other epochs, and says how to train on."""
        there = artefacts.read_manifest(self.workdir, RUN_KIND)["made_from"]
        epochs = there.get("epochs")
        if epochs == made_from["epochs"] or {**there, "epochs": made_from["epochs"]} != made_from:
            return
        start = option("start", self.workdir)
        raise InputError(
            f"{self.workdir} is finished: its learning rate went down over {epochs} epochs to "
            "where it ends, and no more can follow.",
            f"Train on from it in a folder of its own: {start} {option('start_rate', 1)} "
            f"{option('workdir', 'ANOTHER')}, at a low {option('learning_rate')}",
        )

    def build(self) -> None:
        """Makes the method and the model, with first weights that depend on the seed alone."""
        recipe = self.recipe
        data = self.data
        with self.strategy.scope():
            self.method = recipe.build_method()
            if self.old:
                self.old = with_fields(self.old, self.method.needs)
            training = Training(
                data.classes,
                recipe.old_dims,
                recipe.epochs,
                self.steps * recipe.micro_batches,
            )
            self.method.prepare(old_head.source(self.old) if self.old else None, training)
            self.model = recipe.build_model(data.image_size, data.classes, self.steps, self.method)

    def resume(self, stop: StopRequest) -> None:
        """Goes back to the last checkpoint, where there is one."""
        self.checkpoints = Checkpoints(
            self.model,
            self.workdir,
            self.steps_per_epoch,
            every_steps=self.watch.checkpoint_steps,
            kept=self.watch.checkpoints_kept,
            stop=stop,
        )
        self.checkpoints.restore()

    def what_is_trained(self) -> str:
        """Returns the line that a run begins with."""
        data = self.data
        replicas = self.strategy.num_replicas_in_sync
        images = f"{data.records:,} images of {data.classes:,} identities"
        steps = f"{self.steps_per_epoch} steps an epoch, {replicas} replica(s)"
        text = f"training {self.workdir}: {images}, {steps}"
        done = self.checkpoints.step
        if done:
            text += f", going on after step {done}"
        elif self.starts_from:
            text += f"; it starts from {self.starts_from}"
        return text

    def fit(self) -> None:
        """Calls Keras's own `fit`: once for the rest of a broken epoch, once for the whole ones."""
        callbacks = watching.callbacks(self)
        steps = self.steps_per_epoch
        for first_step, last_epoch in stretches(self.checkpoints.step, steps, self.recipe.epochs):
            first_epoch, skipped = divmod(first_step, steps)
            self.model.fit(
                self.batches(first_step),
                initial_epoch=first_epoch,
                epochs=last_epoch,
                steps_per_epoch=steps - skipped,
                shuffle=False,
                verbose=0,  # pyright: ignore[reportArgumentType]
                callbacks=callbacks,
            )
        dropped = int(self.model.dropped.numpy())
        if dropped and self.is_chief:
            steps_done = int(self.model.steps.numpy())
            what = "whose loss or gradient was no finite number"
            self.say(f"{dropped:,} of {steps_done:,} steps were dropped, {what}")

    def ids_of_step(self, step: int) -> list[str]:
        """Returns the names of the records of a step's batch."""
        batch_size = self.recipe.batch_size
        return ids_of_step(self.data, batch_size, self.recipe.seed, step, self.by_class)

    @cached_property
    def by_class(self) -> ClassBatches | None:
        """The batches by identities, where they are asked for."""
        return self.recipe.by_class(self.data, self.old, self.method.needs)

    def batches(self, first_step: int) -> Any:
        """Returns the batches from a step on; each worker's rows, which are together one batch."""

        augment = self.recipe.build_augmentations()

        def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
            return training_batches(
                self.data,
                self.old,
                self.method.needs,
                batch_size=self.recipe.batch_size,
                seed=self.recipe.seed,
                first_step=first_step,
                epochs=self.recipe.epochs,
                mirror=self.recipe.flips,
                context=context,
                by_class=self.by_class,
                augment=augment,
            )

        return self.strategy.distribute_datasets_from_function(of_worker)

    def finish(self) -> None:
        """Writes the encoder, and says in the manifest that the run is done.

        The order makes it safe: 1 the encoder, 2 its head, 3 the projector's table, 4 the manifest;
        5 only then checkpoints are removed.
        """
        with self.model.averaged():
            encoder = self.recipe.build_encoder(self.model, self.data.image_size)
        encoder_file = self.workdir / ENCODER_FILE
        head_file = self.workdir / HEAD_FILE
        validation = self.watch.validation
        best = validation.best if validation else None
        facts: dict[str, Any] = {}
        if best:
            copy_beside(self.workdir / BEST, encoder_file)
            copy_beside(self.workdir / BEST_HEAD, head_file)
            encoder.load_weights(self.workdir / BEST)
            facts = {"best_epoch": best.epoch, best.metric: best.value}
        else:
            artefacts.write_beside(encoder_file, encoder.save)
            artefacts.write_beside(head_file, self.model.head.save)
        write_projector(self.workdir / "log", encoder, self.data)
        facts["encoder"] = artefacts.file_sha256(encoder_file)
        artefacts.write_manifest(self.workdir, RUN_KIND, self.made_from(), **facts)
        shutil.rmtree(self.workdir / "checkpoints")


def copy_beside(source: Path, place: Path) -> None:
    """Copies a file beside its new place and renames it into it."""

    def copy(partial: Path) -> None:
        shutil.copy(source, partial)

    artefacts.write_beside(place, copy)


def stretches(done: int, steps: int, epochs: int) -> list[tuple[int, int]]:
    """Returns (first step, last epoch) of each call of `fit`.

    A call can only begin an epoch at its first step.
    """
    found = []
    if done % steps:
        found.append((done, done // steps + 1))
        done += steps - done % steps
    if done < steps * epochs:
        found.append((done, epochs))
    return found
