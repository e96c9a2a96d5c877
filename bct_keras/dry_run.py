"""`train --dry_run`: what a run would need, without training: files, shapes, steps, and memory per device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from bct_keras import artefacts, distribution, memory, old_encoders, proof, registry
from bct_keras.data.dataset import open_to_train_on
from bct_keras.data.embeddings import KIND as EMBEDDINGS_KIND
from bct_keras.data.sources import SOURCES
from bct_keras.data.sources.source import Source
from bct_keras.data.splits import SPLITS
from bct_keras.encoders import RUN_KIND, load_encoder, trial
from bct_keras.errors import InputError, option
from bct_keras.evaluation import PROTOCOLS, build_protocols
from bct_keras.printable import line as one_line
from bct_keras.progress import Say
from bct_keras.recipe import Recipe
from bct_keras.trainer import UNFINISHED_KIND
from bct_keras.untrusted.json_files import field

NO_OLD = "needs no old encoder"


@dataclass(frozen=True)
class Asked:
    """What a training is asked for besides its recipe; the names are those of the options."""

    workdir: str | None
    data: str | None
    source: str | None
    split: str
    prepared: str
    old: str | None
    old_flagfile: str
    old_workdir: str
    protocol: Sequence[str] | None
    validation: Sequence[str] | None
    keep_best: str
    strategy: str
    replicas: int


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


class DryRun:
    """Looks at each of the things that a training needs, and says of each how it is."""

    def __init__(self, recipe: Recipe, asked: Asked, view: str, say: Say):
        self.recipe = recipe
        self.asked = asked
        self.view = view  # of the data set that would be made, to train on
        self.say = say
        self.missing = 0

    def run(self) -> None:
        """Raises at the end where something is missing, so that all that is missing was told."""
        recipe, asked = self.recipe, self.asked
        self.check("recipe", lambda: said_of(recipe))
        data = self.check("data", self.data_facts) or Facts("")
        old_needed = self.check("method", lambda: said_of_method(recipe)) != NO_OLD
        self.check("workdir", self.workdir_facts)
        if old_needed:
            self.check("old encoder", self.old_facts)
        for spec in asked.protocol or []:
            if spec != "none":
                self.check("protocol", lambda spec=spec: protocol_facts(spec))
        devices = self.check("devices", self.device_facts) or Devices("", asked.replicas or 1)
        spread = distribution.spreads(asked.strategy)
        replicas = devices.replicas * (distribution.worker_count() if spread else 1)
        self.check("steps", lambda: step_facts(recipe, data, replicas))
        size = data.image_size or memory.USUAL_IMAGE_SIZE
        estimate = memory.estimated(recipe, data.classes, size, replicas)
        for line in memory.lines(estimate):
            self.tell("memory", line)
        if self.missing:
            what = f"{self.missing} of the things that training needs are not ready"
            raise InputError(f"dry run: {what}, named above")
        self.say("dry run: everything is there; nothing was trained")

    def check(self, name: str, look: Callable[[], Any]) -> Any:
        """Returns what `look` finds, and says it; None where it finds something missing or wrong."""
        try:
            found = look()
        except (InputError, OSError) as error:
            self.missing += 1
            self.tell(name, f"NOT READY: {reason_of(error)}")
            return None
        self.tell(name, found.said if isinstance(found, Facts | Devices) else str(found))
        return found

    def tell(self, name: str, text: str) -> None:
        self.say(f"{name:<12}{one_line(text)}")

    def workdir_facts(self) -> str:
        if not self.asked.workdir:
            raise InputError(f"{option('workdir')} is needed; {option('help')} tells what it takes")
        workdir = Path(self.asked.workdir)
        artefacts.check_place(workdir, RUN_KIND, UNFINISHED_KIND)
        kind = artefacts.kind_of(workdir) if workdir.is_dir() else None
        states = {
            RUN_KIND: "holds a finished run",
            UNFINISHED_KIND: "holds a run that would go on",
        }
        return f"{workdir} {states.get(kind or '', 'would be made')}"

    def data_facts(self) -> Facts:
        """Returns what the data set is where it is made already, and else what it would be."""
        asked = self.asked
        place = Path(asked.data) if asked.data else Path(asked.prepared) / self.view
        if asked.data or (place / artefacts.MANIFEST).is_file():
            return facts_of_made(place)
        if not asked.source:
            raise InputError(f"neither {option('data')} nor {option('source')} is given")
        return self.facts_of_source(place, asked.source)

    def facts_of_source(self, place: Path, spec: str) -> Facts:
        source: Source = registry.build(SOURCES, spec)
        split = registry.build(SPLITS, self.asked.split)
        division = split.divide(source.labels, len(source.identities), source.groups)
        if self.view not in division.views:
            given = option("split", self.asked.split)
            raise InputError(f"{given} makes no view '{self.view}'; class(...) and data(...) do")
        chosen = division.views[self.view]
        wanted = [division.parts.index(part) for part in chosen.parts]
        records = sum(int((division.part_of == part).sum()) for part in wanted)
        what = images(records, chosen.identities, source.image_size)
        said = f"{place} would be made from {spec}: {what}"
        if source.broken:
            said += f"; {len(source.broken)} broken records: {source.broken[0]}"
        return Facts(said, records, chosen.identities, source.image_size)

    def old_facts(self) -> str:
        asked = self.asked
        if asked.old or asked.data:
            if not asked.old:
                raise InputError(f"give {option('old')}, an encoder or a folder made by embed")
            return self.facts_of_old(Path(asked.old))
        trained = Path(asked.old_workdir)
        if trained.is_dir() and artefacts.kind_of(trained) == RUN_KIND:
            return self.facts_of_old(trained)
        if not Path(asked.old_flagfile).is_file():
            flag_file = option("old_flagfile", asked.old_flagfile)
            raise InputError(f"{flag_file}: no such file, and {option('old')} is not given")
        by = f"by {asked.old_flagfile}, with {self.recipe.old_dims} dimensions"
        return f"{trained} would be trained first, {by}"

    def facts_of_old(self, old: Path) -> str:
        if old_encoders.is_embeddings(old):
            manifest = artefacts.read_manifest(old, EMBEDDINGS_KIND)
            dims, what = field(manifest, "dims", int, old / artefacts.MANIFEST), "embeddings"
        else:
            encoder = load_encoder(old)
            dims, what = encoder.dims, "an encoder"
            for line in trial.told(encoder):
                self.tell("old encoder", line)
        old_encoders.check_dims(dims, self.recipe.old_dims, old)
        if self.asked.data:
            self.check_proof(self.asked.data, old)
        return f"{old}: {what} of {dims} dimensions"

    def check_proof(self, folder: str, old: Path) -> None:
        asked = self.asked
        data = open_to_train_on(folder)
        protocols = build_protocols(proof.protocols(asked.protocol, data))
        validation = build_protocols(asked.validation or [])
        proof.check(protocols, data, old, old_encoders.known(old))
        proof.check_validation(validation, asked.keep_best, protocols, data)

    def device_facts(self) -> Devices:
        asked = self.asked
        replicas = distribution.replicas_here(asked.strategy, asked.replicas)
        gpus = len(tf.config.list_physical_devices("GPU"))
        if distribution.spreads(asked.strategy):
            workers = distribution.worker_count()
            said = f"{replicas} device(s) here, and as many on each of {workers} workers"
        elif gpus:
            said = f"{replicas} of {gpus} GPU(s)"
        else:
            said = f"no GPU here: {replicas} device(s) of this machine's CPU"
        return Devices(said, replicas)


def reason_of(error: InputError | OSError) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    return " ".join(error.args)


def said_of(recipe: Recipe) -> str:
    parts = [
        recipe.backbone,
        f"{recipe.dims} dimensions",
        recipe.head,
        recipe.method,
        recipe.optimizer,
        f"{recipe.schedule} from {recipe.learning_rate:g}",
        recipe.precision,
    ]
    return ", ".join(parts)


def said_of_method(recipe: Recipe) -> str:
    return "needs old embeddings" if recipe.build_method().needs_old else NO_OLD


def facts_of_made(place: Path) -> Facts:
    data = open_to_train_on(place)
    data.check_content()
    said = f"{place} is whole: {images(data.records, data.classes, data.image_size)}"
    return Facts(said, data.records, data.classes, data.image_size)


def images(records: int, classes: int, size: int) -> str:
    return f"{records:,} images of {classes:,} identities, {size} x {size}"


def protocol_facts(spec: str) -> str:
    registry.build(PROTOCOLS, spec, cache=None, on_bad="fail")
    return f"{spec}: its files are there"


def step_facts(recipe: Recipe, data: Facts, replicas: int) -> str:
    share = recipe.batch_size // replicas // recipe.micro_batches
    per_device = f"{share:,} images a device"
    if recipe.micro_batches > 1:
        per_device += " and micro-batch"
    if not data.records:
        recipe.steps_per_epoch(recipe.batch_size, replicas)  # what is wrong whatever the data
        unknown = "how many is not known without the data"
        return f"of {recipe.batch_size:,} images, {per_device}; {unknown}"
    steps = recipe.steps_per_epoch(data.records, replicas)
    total = f"{steps:,} an epoch, {steps * recipe.epochs:,} in all {recipe.epochs}"
    return f"{total}, each of {recipe.batch_size:,} images, {per_device}"
