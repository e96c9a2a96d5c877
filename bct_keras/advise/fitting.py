"""Fits the adapters that are among the routes, as `adapt` does, and keeps each in a folder."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bct_keras import artefacts
from bct_keras.adapt import plan as of_adapt
from bct_keras.adapt.adaptation import Adaptation
from bct_keras.adapt.items import ImagesOfData, StoredItems, items_of
from bct_keras.adapt.judges import weight_of
from bct_keras.adapt.pairs import Pairs
from bct_keras.adapt.plan import QUERY
from bct_keras.adapt.run import fitted
from bct_keras.adapt.writing import write
from bct_keras.advise.candidates import (
    ADAPTED,
    FUSED,
    MOVED,
    NAMES,
    Route,
    name_of,
    training_seconds,
)
from bct_keras.advise.plan import Plan
from bct_keras.encoders import ADAPTER_FILE, ENCODER_FILE, Encoder
from bct_keras.evaluate.protocol import Protocol
from bct_keras.progress import Say


@dataclass(frozen=True)
class Place:
    """Says where the adapters are written, and where they are going to lie."""

    folder: Path  # that is being filled
    out: Path  # where it is renamed to


@dataclass(frozen=True)
class Fitting:
    """Fits all adapters between two encoders on the same items."""

    old: Encoder
    new: Encoder
    plan: Plan
    items: ImagesOfData | StoredItems
    asked: Mapping[str, Protocol]  # protocols of the user's own
    place: Place
    say: Say

    def routes(self, trained: Sequence[Encoder]) -> list[Route]:
        """Returns the routes that something is fitted for."""
        pairs = self.items.pairs()
        return [
            *self.of_queries(pairs),
            self.moved(pairs),
            *[self.fused_trained(each, number) for number, each in enumerate(trained, 1)],
        ]

    def of_queries(self, pairs: Pairs) -> list[Route]:
        """Fits the map new -> old; returns queries by it alone, and fused with the old encoder."""
        self.say(f"fitting {self.plan.kind} new -> old on {len(pairs):,} pairs")
        started = time.monotonic()
        plan = self.plan.of_queries()
        found = fitted(self.new, self.old, plan, pairs, self.place.out / ADAPTED)
        seconds = time.monotonic() - started
        in_one_file = self.keep(found, plan, pairs, ADAPTED)
        adapted = Route(
            kind=ADAPTED,
            name=NAMES[ADAPTED],
            queries=found.compatible,
            gallery=self.old,
            own=self.new,
            networks=(self.new,),
            query_map=found.adapter,
            fit_seconds=seconds,
            pairs=len(pairs),
            folder=self.place.out / ADAPTED,
            in_one_file=in_one_file,
        )
        plan = self.plan.of_fused()
        found = replace(
            found,
            weight=weight_of(found, pairs, plan, self.say),
            adapter_file=str(self.place.out / FUSED / ADAPTER_FILE),
        )
        in_one_file = self.keep(found, plan, pairs, FUSED)
        fused = replace(
            adapted,
            kind=FUSED,
            name=NAMES[FUSED],
            queries=found.compatible,
            networks=(self.new, self.old),
            folder=self.place.out / FUSED,
            in_one_file=in_one_file,
        )
        return [adapted, fused]

    def moved(self, pairs: Pairs) -> Route:
        """Fits the map old -> new; returns the gallery that it moves."""
        self.say(f"fitting {self.plan.kind} old -> new on {len(pairs):,} pairs")
        started = time.monotonic()
        plan = self.plan.of_gallery()
        found = fitted(self.new, self.old, plan, pairs, self.place.out / MOVED)
        seconds = time.monotonic() - started
        self.keep(found, plan, pairs, MOVED)
        return Route(
            kind=MOVED,
            name=NAMES[MOVED],
            queries=self.new,
            gallery=found.moved,
            own=self.new,
            networks=(self.new,),
            gallery_map=found.adapter,
            fit_seconds=seconds,
            pairs=len(pairs),
            folder=self.place.out / MOVED,
        )

    def fused_trained(self, encoder: Encoder, number: int) -> Route:
        """Chooses the weight of a trained encoder beside the old one."""
        plan = self.plan.of_fused_trained()
        pairs = self.items_of(encoder, plan).pairs()
        found = Adaptation(encoder, self.old, adapter=None, adapter_file="")
        found = replace(found, weight=weight_of(found, pairs, plan, self.say))
        folder = f"{FUSED}-{number}"
        in_one_file = self.keep(found, plan, pairs, folder)
        return Route(
            kind=FUSED,
            name=f"fused: {name_of(encoder)} + old",
            queries=found.compatible,
            gallery=self.old,
            own=encoder,
            networks=(encoder, self.old),
            fit_seconds=training_seconds(encoder),
            folder=self.place.out / folder,
            in_one_file=in_one_file,
        )

    def items_of(self, new: Encoder, plan: of_adapt.Plan) -> ImagesOfData | StoredItems:
        """Returns the items that `adapt` would take for a plan."""
        return items_of(new, self.old, plan).apart_from(self.asked)

    def keep(self, found: Adaptation, plan: of_adapt.Plan, pairs: Pairs, name: str) -> bool:
        """Writes a folder that `adapt` with the same plan finds done, and goes on from.

        Returns whether it has an encoder file.
        """
        items = self.items_of(found.new, plan)
        made_from = plan.made_from(found.new, found.old) | {"items": items.fingerprint}
        with artefacts.new_folder(self.place.folder / name) as folder:
            write(found, len(pairs), folder, made_from, plan.direction == QUERY)
            return (folder / ENCODER_FILE).is_file()
