"""`train --dry_run`: what a run would need, without training: files, shapes, steps, and memory per device."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import flags

from bct_keras import artefacts, command, distribution, memory, old_encoders, proof, registry
from bct_keras.data.dataset import open_to_train_on
from bct_keras.data.embeddings import KIND as EMBEDDINGS_KIND
from bct_keras.data.sources import SOURCES
from bct_keras.data.sources.source import Source
from bct_keras.data.splits import SPLITS
from bct_keras.encoders import RUN_KIND, load_encoder, trial
from bct_keras.errors import InputError, option
from bct_keras.evaluation import PROTOCOLS
from bct_keras.printable import line as one_line
from bct_keras.recipe import Recipe
from bct_keras.trainer import UNFINISHED_KIND
from bct_keras.untrusted.json_files import field


@dataclass(frozen=True)
class Facts:
    """What is known of the data to train on; 0 is not known."""

    said: str
    records: int = 0
    classes: int = 0
    image_size: int = 0


@dataclass(frozen=True)
class Devices:
    said: str
    replicas: int  # on this machine


class Findings:
    """Lines for the summary, and how many of them say that something is missing."""

    def __init__(self):
        self.missing = 0

    def check(self, name: str, look: Callable[[], Any]) -> Any:
        """What `look` returns, and its text printed; None where it finds something missing or wrong."""
        try:
            found = look()
        except (InputError, OSError) as error:
            self.missing += 1
            told = (
                f"{error.filename}: {error.strerror}"
                if isinstance(error, OSError)
                else " ".join(error.args)
            )
            say(name, f"NOT READY: {told}")
            return None
        say(name, found.said if isinstance(found, Facts | Devices) else str(found))
        return found

    def conclude(self) -> None:
        if self.missing:
            raise InputError(
                f"dry run: {self.missing} of the things that training needs are not ready, named above"
            )
        print("dry run: everything is there; nothing was trained")


def dry_run(recipe: Recipe, view: str) -> None:
    FLAGS = flags.FLAGS
    findings = Findings()
    findings.check("recipe", lambda: said_of(recipe))
    data = findings.check("data", lambda: data_facts(view)) or Facts("")
    with_old = findings.check("method", lambda: said_of_method(recipe))
    findings.check("workdir", workdir_facts)
    if with_old != "needs no old encoder":
        findings.check("old encoder", lambda: old_facts(recipe))
    for spec in FLAGS.protocol or []:
        if spec != "none":
            findings.check("protocol", lambda spec=spec: protocol_facts(spec))
    devices = findings.check("devices", device_facts) or Devices("", FLAGS.replicas or 1)
    everywhere = devices.replicas * (
        distribution.worker_count() if distribution.spreads(FLAGS.strategy) else 1
    )
    findings.check("steps", lambda: step_facts(recipe, data, everywhere))
    size = data.image_size or memory.USUAL_IMAGE_SIZE
    for line in memory.lines(memory.estimated(recipe, data.classes, size, everywhere)):
        say("memory", line)
    findings.conclude()


def said_of(recipe: Recipe) -> str:
    return (
        f"{recipe.backbone}, {recipe.dims} dimensions, {recipe.head}, {recipe.method}, {recipe.optimizer}, "
        f"{recipe.schedule} from {recipe.learning_rate:g}, {recipe.precision}"
    )


def said_of_method(recipe: Recipe) -> str:
    return "needs old embeddings" if recipe.build_method().needs_old else "needs no old encoder"


def workdir_facts() -> str:
    workdir = Path(command.required("workdir"))
    artefacts.check_place(workdir, RUN_KIND, UNFINISHED_KIND)
    kind = artefacts.kind_of(workdir) if workdir.is_dir() else None
    states = {RUN_KIND: "holds a finished run", UNFINISHED_KIND: "holds a run that would go on"}
    return f"{workdir} {states.get(kind or '', 'would be made')}"


def data_facts(view: str) -> Facts:
    """Of the data set where it is made already, and else of what it would be made from."""
    FLAGS = flags.FLAGS
    place = Path(FLAGS.data) if FLAGS.data else Path(FLAGS.prepared) / view
    if FLAGS.data or (place / artefacts.MANIFEST).is_file():
        data = open_to_train_on(place)
        data.check_content()
        said = f"{place} is whole: {images(data.records, data.classes, data.image_size)}"
        return Facts(said, data.records, data.classes, data.image_size)
    if not FLAGS.source:
        raise InputError(f"neither {option('data')} nor {option('source')} is given")
    source: Source = registry.build(SOURCES, FLAGS.source)
    identities = len(source.identities)
    division = registry.build(SPLITS, FLAGS.split).divide(source.labels, identities, source.groups)
    if view not in division.views:
        raise InputError(
            f"{option('split', FLAGS.split)} makes no view '{view}'; class(...) and data(...) do"
        )
    chosen = division.views[view]
    wanted = [division.parts.index(part) for part in chosen.parts]
    records = sum(int((division.part_of == part).sum()) for part in wanted)
    said = f"{place} would be made from {FLAGS.source}: {images(records, chosen.identities, source.image_size)}"
    broken = f"; {len(source.broken)} broken records: {source.broken[0]}" if source.broken else ""
    return Facts(said + broken, records, chosen.identities, source.image_size)


def images(records: int, classes: int, size: int) -> str:
    return f"{records:,} images of {classes:,} identities, {size} x {size}"


def old_facts(recipe: Recipe) -> str:
    FLAGS = flags.FLAGS
    if FLAGS.old or FLAGS.data:
        if not FLAGS.old:
            raise InputError(f"give {option('old')}, an encoder or a folder made by embed")
        return old_given(Path(FLAGS.old), recipe)
    trained = Path(FLAGS.old_workdir)
    if trained.is_dir() and artefacts.kind_of(trained) == RUN_KIND:
        return old_given(trained, recipe)
    if not Path(FLAGS.old_flagfile).is_file():
        flag_file = option("old_flagfile", FLAGS.old_flagfile)
        raise InputError(f"{flag_file}: no such file, and {option('old')} is not given")
    return f"{trained} would be trained first, by {FLAGS.old_flagfile}, with {recipe.old_dims} dimensions"


def old_given(old: Path, recipe: Recipe) -> str:
    if old_encoders.is_embeddings(old):
        manifest = artefacts.read_manifest(old, EMBEDDINGS_KIND)
        dims, what = field(manifest, "dims", int, old / artefacts.MANIFEST), "embeddings"
    else:
        encoder = load_encoder(old)
        dims, what = encoder.dims, "an encoder"
        for line in trial.told(encoder):
            say("old encoder", line)
    old_encoders.check_dims(dims, recipe.old_dims, old)
    if flags.FLAGS.data:
        data = open_to_train_on(flags.FLAGS.data)
        protocols = proof.protocols(flags.FLAGS.protocol, data)
        proof.check(protocols, data, old, old_encoders.known(old))
        proof.check_validation(flags.FLAGS.validation or [], flags.FLAGS.keep_best, protocols, data)
    return f"{old}: {what} of {dims} dimensions"


def protocol_facts(spec: str) -> str:
    registry.build(PROTOCOLS, spec, cache=None, on_bad="fail")
    return f"{spec}: its files are there"


def device_facts() -> Devices:
    FLAGS = flags.FLAGS
    replicas = distribution.replicas_here(FLAGS.strategy, FLAGS.replicas)
    gpus = len(tf.config.list_physical_devices("GPU"))
    if distribution.spreads(FLAGS.strategy):
        said = f"{replicas} device(s) here, and as many on each of {distribution.worker_count()} workers"
    else:
        said = (
            f"{replicas} of {gpus} GPU(s)"
            if gpus
            else f"no GPU here: {replicas} device(s) of this machine's CPU"
        )
    return Devices(said, replicas)


def step_facts(recipe: Recipe, data: Facts, replicas: int) -> str:
    share = recipe.batch_size // replicas // recipe.micro_batches
    per_device = f"{share:,} images a device" + (
        " and micro-batch" if recipe.micro_batches > 1 else ""
    )
    if not data.records:
        recipe.steps_per_epoch(recipe.batch_size, replicas)  # what is wrong whatever the data
        return (
            f"of {recipe.batch_size:,} images, {per_device}; how many is not known without the data"
        )
    steps = recipe.steps_per_epoch(data.records, replicas)
    total = f"{steps:,} an epoch, {steps * recipe.epochs:,} in all {recipe.epochs}"
    return f"{total}, each of {recipe.batch_size:,} images, {per_device}"


def say(name: str, text: str) -> None:
    print(f"{name:<12}{one_line(text)}", flush=True)
