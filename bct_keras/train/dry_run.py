"""Tells what a run would need, without training: files, shapes, steps, and memory of each device.

It is what `train --dry_run` does.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tensorflow as tf

from bct_keras import artefacts, shipped, specs, stores
from bct_keras.data.around import TEST
from bct_keras.data.dataset import open_to_train_on
from bct_keras.data.embeddings import KIND as EMBEDDINGS_KIND
from bct_keras.distribution.strategy import replicas_here, spreads
from bct_keras.distribution.workers import worker_count
from bct_keras.encoders import RUN_KIND, load_encoder, trial
from bct_keras.errors import InputError, option
from bct_keras.evaluate import held_out
from bct_keras.evaluate.protocols import build_protocols
from bct_keras.prepare.sources import SOURCES
from bct_keras.prepare.sources.source import Source
from bct_keras.prepare.splits import SPLITS
from bct_keras.printable import line as one_line
from bct_keras.progress import Outcome, Say
from bct_keras.train import memory, old_encoders, proof, ways_on
from bct_keras.train.dry_run_facts import (
    NO_OLD,
    Devices,
    Facts,
    Steps,
    facts_of_made,
    images,
    protocol_facts,
    reason_of,
    said_of,
    said_of_method,
    start_facts,
    step_facts,
)
from bct_keras.train.plan import Plan
from bct_keras.train.trainer import UNFINISHED_KIND
from bct_keras.untrusted.json_files import field


class DryRun:
    """Looks at each of the things that a training needs, and says of each how it is."""

    def __init__(self, plan: Plan, say: Say, conclude: Callable[[Outcome], None]):
        """Begins with nothing looked at.

        Args:
            plan: The training.
            say: Takes a line on each thing.
            conclude: Takes what all of it comes to, also where something is missing.
        """
        self.plan = plan
        self.recipe = plan.recipe
        self.say = say
        self.conclude = conclude
        self.looked_at: list[dict[str, Any]] = []
        self.memory: float | None = None  # bytes on each device
        self.would_hold_out = True  # whether a data set that is not made yet has a test view
        self.lacks_proof = False

    def run(self) -> None:
        """Looks at everything; raises at the end where something is missing.

        So all that is missing is told.
        """
        plan = self.plan
        recipe = self.recipe
        self.check("recipe", lambda: said_of(recipe))
        data = self.check("data", self.data_facts) or Facts("")
        few = data.records and ways_on.before(recipe, data.records, data.classes)
        if few:
            self.tell("amount", few)
        old_needed = self.check("method", lambda: said_of_method(recipe)) != NO_OLD
        started = ""
        if recipe.start:
            started = self.check("start", lambda: start_facts(recipe, data, self.made_data()))
        self.check("workdir", self.workdir_facts)
        if old_needed:
            self.check("old encoder", self.old_facts)
        for spec in plan.protocol or []:
            if spec != "none":
                self.check("protocol", lambda spec=spec: protocol_facts(spec))
        self.tell_lack_of_proof()
        devices = self.check("devices", self.device_facts) or Devices("", plan.replicas or 1)
        workers = worker_count() if spreads(plan.strategy) else 1
        replicas = devices.replicas * workers
        self.check("steps", lambda: step_facts(recipe, data, replicas))
        if started is not None:
            self.tell_memory(data, replicas)
        self.tell_outcome()

    def tell_outcome(self) -> None:
        """Tells what all of it comes to; raises where something is missing."""
        missing = [each["name"] for each in self.looked_at if not each["ready"]]
        facts = {
            "ready": not missing,
            "bytes_a_device": self.memory,
            "looked_at": self.looked_at,
        }
        if not missing:
            but = ", but what would prove the encoder" if self.lacks_proof else ""
            text = f"dry run: everything is there{but}; nothing was trained"
            self.conclude(Outcome(text, facts))
            return
        self.conclude(Outcome(f"not ready: {', '.join(missing)}", facts))
        what = f"{len(missing)} of the things that training needs are not ready"
        raise InputError(f"dry run: {what}, named above")

    def tell_memory(self, data: Facts, replicas: int) -> None:
        """Says what each device would hold."""
        size = data.image_size or memory.USUAL_IMAGE_SIZE
        estimate = memory.estimated(self.recipe, data.classes, size, replicas)
        self.memory = estimate.total
        for line in memory.lines(estimate):
            self.tell("memory", line)

    def tell_lack_of_proof(self) -> None:
        """Says where nothing would prove the encoder."""
        plan = self.plan
        data = self.made_data()
        if plan.protocol:
            return
        is_proven = bool(held_out.test_data(data)) if data else self.would_hold_out
        if not is_proven:
            self.lacks_proof = True
            for line in proof.lines_without(list(plan.formats)):
                self.tell("proof", line)

    def check(self, name: str, look: Callable[[], Any]) -> Any:
        """Says what `look` finds, and returns it; None where something is missing or wrong."""
        try:
            found = look()
        except (InputError, OSError) as error:
            self.tell(name, f"NOT READY: {reason_of(error)}", is_ready=False)
            return None
        if isinstance(found, Facts | Devices | Steps):
            numbers = asdict(found)
            self.tell(name, numbers.pop("said"), numbers=numbers)
        else:
            self.tell(name, str(found))
        return found

    def tell(
        self, name: str, text: str, is_ready: bool = True, numbers: dict[str, int] | None = None
    ) -> None:
        """Says a line of the summary, and keeps it for programs.

        Args:
            name: What was looked at.
            text: What is said of it.
            is_ready: Whether a training could go on with it.
            numbers: What of it are numbers, for programs.
        """
        said = one_line(text)
        self.looked_at.append(
            {"name": name, "said": said.strip(), "ready": is_ready, **(numbers or {})}
        )
        self.say(f"{name:<12}{said}")

    def workdir_facts(self) -> str:
        """Returns what the run's folder holds."""
        workdir = self.plan.folder()
        artefacts.check_place(workdir, RUN_KIND, UNFINISHED_KIND)
        kind = artefacts.kind_of(workdir) if workdir.is_dir() else None
        states = {
            RUN_KIND: "holds a finished run",
            UNFINISHED_KIND: "holds a run that would go on",
        }
        return f"{workdir} {states.get(kind or '', 'would be made')}"

    def made_data(self) -> Path | None:
        """Returns where the data set lies; None where it is not made yet."""
        plan = self.plan
        place = stores.place(plan.data) if plan.data else stores.place(plan.prepared) / plan.view
        return place if (place / artefacts.MANIFEST).is_file() else None

    def data_facts(self) -> Facts:
        """Returns what the data set is where it is made already, and else what it would be."""
        plan = self.plan
        place = self.made_data()
        if plan.data or place:
            return facts_of_made(place or stores.place(plan.data or ""))
        if not plan.source:
            raise InputError(f"neither {option('data')} nor {option('source')} is given")
        return self.facts_of_source(stores.place(plan.prepared) / plan.view, plan.source)

    def facts_of_source(self, place: Path, spec: str) -> Facts:
        """Returns what the data set would be, by its source alone."""
        source: Source = specs.build(SOURCES, spec)
        split = specs.build(SPLITS, self.plan.split)
        division = split.divide(source.labels, len(source.identities), source.groups)
        self.would_hold_out = TEST in division.views
        view = self.plan.view
        if view not in division.views:
            given = option("split", self.plan.split)
            raise InputError(f"{given} makes no view '{view}'; class(...) and data(...) do")
        chosen = division.views[view]
        records = 0
        for part in chosen.parts:
            in_part = division.part_of == division.parts.index(part)
            records += int(in_part.sum())
        what = images(records, chosen.identities, source.image_size)
        said = f"{place} would be made from {spec}: {what}"
        if source.broken:
            said += f"; {len(source.broken)} broken records: {source.broken[0]}"
        return Facts(
            said=said,
            records=records,
            classes=chosen.identities,
            image_size=source.image_size,
        )

    def old_facts(self) -> str:
        """Returns where the old encoder comes from."""
        plan = self.plan
        if plan.old:
            return self.facts_of_old(stores.place(plan.old))
        if plan.data:
            raise InputError(f"give {option('old')}, an encoder or a folder made by embed")
        trained = stores.place(plan.old_workdir)
        if trained.is_dir() and artefacts.kind_of(trained) == RUN_KIND:
            return self.facts_of_old(trained)
        if not shipped.flag_file(plan.old_flagfile).is_file():
            flag_file = option("old_flagfile", plan.old_flagfile)
            raise InputError(f"{flag_file}: no such file, and {option('old')} is not given")
        by = f"by {plan.old_flagfile}, with {self.recipe.old_dims} dimensions"
        return f"{trained} would be trained first, {by}"

    def facts_of_old(self, old: Path) -> str:
        """Returns what lies there; raises where it does not fit the new encoder."""
        if old_encoders.is_embeddings(old):
            what = "embeddings"
            manifest = artefacts.read_manifest(old, EMBEDDINGS_KIND)
            dims = field(manifest, "dims", int, old / artefacts.MANIFEST)
        else:
            encoder = load_encoder(old)
            dims = encoder.dims
            size = encoder.image_size
            what = f"an encoder of images of {size} x {size}," if size else "an encoder"
            for line in trial.told(encoder):
                self.tell("old encoder", line)
        old_encoders.check_dims(dims, self.recipe.old_dims, old)
        if self.plan.data:
            self.check_proof(self.plan.data, old)
        return f"{old}: {what} of {dims} dimensions"

    def check_proof(self, folder: str, old: Path) -> None:
        """Raises where the new encoder could not be judged."""
        plan = self.plan
        data = open_to_train_on(folder)
        asked = held_out.protocols(plan.protocol, data)
        protocols = build_protocols(asked)
        validation = build_protocols(plan.validation or [])
        encoder = old_encoders.known(old)
        proof.check(protocols, data, old, encoder)
        proof.check_validation(validation, plan.keep_best, protocols, data)

    def device_facts(self) -> Devices:
        """Returns what it would be trained on."""
        plan = self.plan
        replicas = replicas_here(plan.strategy, plan.replicas)
        gpus = len(tf.config.list_physical_devices("GPU"))
        if spreads(plan.strategy):
            workers = worker_count()
            said = f"{replicas} device(s) here, and as many on each of {workers} workers"
        elif gpus:
            said = f"{replicas} of {gpus} GPU(s)"
        else:
            said = f"no GPU here: {replicas} device(s) of this machine's CPU"
        return Devices(said, replicas)
