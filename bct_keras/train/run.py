"""The whole way of a training: data, old encoder, old embeddings, training, export and report.

What is done already is not done again.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from bct_keras import artefacts, stores
from bct_keras.data.dataset import DataSet, open_data_set, open_to_train_on
from bct_keras.data.embeddings import EmbeddingShards
from bct_keras.distribution import workers
from bct_keras.encoders import RUN_KIND, Encoder, load_encoder
from bct_keras.errors import InputError, option
from bct_keras.evaluate import held_out
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.outcome import outcome
from bct_keras.evaluate.protocol import Protocol
from bct_keras.evaluate.protocols import build_protocols
from bct_keras.evaluate.run import evaluate
from bct_keras.export.formats import FORMATS
from bct_keras.export.formats.format import Source
from bct_keras.export.run import Exported, export, keras_encoder
from bct_keras.metrics.verdict import NOT_COMPATIBLE
from bct_keras.prepare.run import prepare
from bct_keras.progress import Outcome, Say
from bct_keras.train import at_once, old_encoders, proof, ways_on
from bct_keras.train.apart import train_apart
from bct_keras.train.plan import Plan
from bct_keras.train.trainer import UNFINISHED_KIND, Run, Watch
from bct_keras.train.validation import Validation


@dataclass(frozen=True)
class Upgrade:
    """One training with all around it."""

    plan: Plan
    say: Say
    strategy: tf.distribute.Strategy
    conclude: Callable[[Outcome], None] | None = None  # gets the result; without it `say` does

    def run(self) -> None:
        """Goes the whole way; raises StoppedError where somebody asked the training to stop."""
        if stores.is_remote(self.plan.run.folder) and workers.worker_count() > 1:
            raise InputError(
                f"{option('workdir', self.plan.workdir)}: several workers need a folder that all "
                "of them see at once; give one on a shared disk"
            )
        self.plan.run.fetch()
        try:
            self.go()
        finally:
            self.keep()

    def keep(self) -> None:
        """Puts the run into its store, where it has one; of several workers the chief does."""
        if not workers.worker_index():
            self.plan.run.push()

    def go(self) -> None:
        """Goes the whole way in the run's folder on this machine."""
        workdir = self.plan.folder()
        # What is wrong is told at once, not after the old encoder was trained.
        artefacts.check_place(workdir, RUN_KIND, UNFINISHED_KIND)
        self.plan.recipe.build_augmentations()
        data = workers.chief_first(self.strategy, self.data_to_train_on)
        self.check_amount(data)
        if not self.plan.protocol and not held_out.test_data(data.folder):
            for line in proof.lines_without(list(self.plan.formats)):
                self.say(line)
        old = workers.chief_first(self.strategy, self.old_encoder)
        # At once, so that what is wrong with it is not told after the training.
        compared_with = old_encoders.known(old)
        judged = self.judged_by(data)
        proof.check(judged.proof | judged.validation, data, old, compared_with)
        keep_best = self.plan.keep_best
        for warning in proof.check_validation(judged.validation, keep_best, judged.proof, data):
            self.say(warning)
        run = Run(
            recipe=self.plan.recipe,
            data=data,
            old=self.old_embeddings(old, data),
            strategy=self.strategy,
            workdir=workdir,
            watch=self.watch(judged.validation, compared_with),
            flags=self.plan.flags,
            say=self.say,
        )
        few = self.told_of_few(data)
        if few and artefacts.kind_of(workdir) != RUN_KIND:
            self.say(few)
        with alone_in(workdir):
            run.train()
        workers.chief_first(self.strategy, lambda: self.finish(compared_with, data, judged.proof))

    def check_amount(self, data: DataSet) -> None:
        """Raises where no batches can be made; says first where the images are too few anyway."""
        try:
            replicas = self.strategy.num_replicas_in_sync
            self.plan.recipe.check_data(data.records, data.classes, replicas, data.image_size)
        except InputError:
            few = self.told_of_few(data)
            if few:
                self.say(few)
            raise

    def told_of_few(self, data: DataSet) -> str | None:
        """Returns what to know of too few images; None where there are enough."""
        return ways_on.before(self.plan.recipe, data.records, data.classes)

    def data_to_train_on(self) -> DataSet:
        """Returns the data set that is given, or makes it."""
        plan = self.plan
        if plan.data:
            return open_to_train_on(plan.data)
        if not plan.source:
            raise at_once.no_data()
        # Not by `seed`, which is of the training: one data set is for all seeds.
        prepared = stores.place(plan.prepared)
        self.say(prepare(plan.source, plan.split, prepared, on_bad=plan.on_bad))
        return open_data_set(prepared / plan.view)

    def old_encoder(self) -> Path | None:
        """Returns where it lies.

        Trains it first where none is given and the data set is our own.
        """
        plan = self.plan
        if plan.old:
            return stores.place(plan.old)
        if plan.data:
            return None
        data = stores.place(plan.prepared) / "old"
        arguments = {
            "flagfile": plan.old_flagfile,
            "data": data,
            "workdir": plan.old_workdir,
            "dims": plan.recipe.old_dims,
            "seed": plan.recipe.seed,
            "replicas": plan.replicas,
        }
        flag_file = option("flagfile", plan.old_flagfile)
        self.say(f"old encoder: {flag_file} {option('data', data)}")
        train_apart([f"--{name}={value}" for name, value in arguments.items()])
        return stores.place(plan.old_workdir)

    def old_embeddings(self, old: Path | None, data: DataSet) -> EmbeddingShards | None:
        """Returns what the method needs of the old encoder."""
        recipe = self.plan.recipe
        with self.strategy.scope():
            needs_old = recipe.build_method().needs_old
        if not needs_old:
            return None

        def embedded() -> EmbeddingShards:
            if old is None:
                method = option("method", recipe.method)
                what = "an encoder or a folder made by embed"
                raise InputError(f"{method} needs old embeddings: give {option('old')}, {what}")
            return old_encoders.embeddings(old, data, recipe.old_dims, self.say)

        return workers.chief_first(self.strategy, embedded)

    def judged_by(self, data: DataSet) -> "Judged":
        """Builds each protocol once.

        Whoever measures by it finds the embeddings that others have made.
        """
        of_proof = held_out.protocols(self.plan.protocol, data)
        of_validation = self.plan.validation or []
        cache = EmbeddingCache(self.plan.folder() / "embeddings")
        built = build_protocols([*of_proof, *of_validation], cache)
        return Judged(
            proof={spec: built[spec] for spec in of_proof},
            validation={spec: built[spec] for spec in of_validation},
        )

    def watch(self, protocols: dict[str, Protocol], old: Encoder | None) -> Watch:
        """Returns what is kept and shown while it is trained."""
        plan = self.plan
        if plan.keep_best and not protocols:
            needed = f"{option('keep_best')} needs {option('validation')}"
            raise InputError(f"{needed}, which measures it after every epoch")
        return Watch(
            checkpoint_steps=plan.checkpoint_steps,
            checkpoints_kept=plan.checkpoints_kept,
            nan_limit=plan.nan_limit,
            validation=Validation(protocols, old, plan.keep_best) if protocols else None,
            keep=self.keep,
        )

    def finish(self, old: Encoder | None, data: DataSet, protocols: dict[str, Protocol]) -> None:
        """Exports, then says the table, so that it is the last thing.

        Of a refused export the reason is raised at the end.
        """
        refused = None
        facts: dict[str, Any] = {"workdir": self.plan.workdir, "exported": None}
        if list(self.plan.formats) != ["none"]:
            try:
                exported = self.export(old, data, protocols)
                self.say(str(exported))
                facts["exported"] = exported.facts()
                refused = exported.refusal()
            except InputError as error:
                refused = error
        if protocols:
            workdir = self.plan.folder()
            out = workdir / "report"
            new = load_encoder(workdir)
            found = evaluate(old, new, protocols, out, rule=self.plan.checks.rule, say=self.say)
            result = outcome(found, out, str(data.folder), facts)
            if found.get("verdict") == NOT_COMPATIBLE or found.get("looks_worse"):
                recipe = self.plan.recipe
                way_on = ways_on.after(recipe.start, recipe.start_rate, recipe.epochs)
                result = dataclasses.replace(result, text=f"{result.text}\n{way_on}")
            self.tell(result)
        elif not self.plan.protocol:
            told = f"{option('protocol')} tells on what, such as retrieval(DATA)"
            text = f"not evaluated: {told} of identities that were not trained on"
            self.tell(Outcome(text, facts))
        else:
            self.tell(Outcome(f"trained: {self.plan.folder()}", facts))
        if refused:
            raise refused

    def tell(self, result: Outcome) -> None:
        """Tells what the training has come to."""
        if self.conclude:
            self.conclude(result)
        else:
            self.say(result.text)

    def export(
        self, old: Encoder | None, data: DataSet, protocols: dict[str, Protocol]
    ) -> Exported:
        """Exports the encoder in all formats, by what it is judged by."""
        plan = self.plan
        workdir = plan.folder()
        known = [FORMATS[name] for name in plan.formats if name in FORMATS]
        needs_calibration = any(each.needs_calibration for each in known)
        source = Source(
            keras_encoder(workdir),
            plan.flip_and_add,
            data if needs_calibration else None,
        )
        checks = dataclasses.replace(plan.checks, protocols=protocols, old=old)
        out = workdir / "exported"
        return export(source, list(plan.formats), out, checks, plan.data_licence)


@dataclass(frozen=True)
class Judged:
    """What the new encoder is judged by: at the end, and after every epoch."""

    proof: dict[str, Protocol]
    validation: dict[str, Protocol]


def alone_in(workdir: Path) -> contextlib.AbstractContextManager:
    """Holds the run's folder for this process.

    A killed command's training of its old encoder may still have it.
    """
    if workers.worker_index():
        return contextlib.nullcontext()
    return artefacts.alone(workdir, "another process that trains here")
