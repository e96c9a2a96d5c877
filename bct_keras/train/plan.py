"""What a training is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bct_keras import stores
from bct_keras.artefacts import MANIFEST
from bct_keras.errors import InputError, option
from bct_keras.export.run import Checks
from bct_keras.prepare.splits import VIEW_OF_SCENARIO
from bct_keras.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides what `train` does; the names are those of its options."""

    recipe: Recipe
    checks: Checks  # of what is exported; protocols and the old encoder are those of the training
    flags: str  # what starts this training again, for flags.txt

    workdir: str | None
    # The data set, or what it is made from.
    data: str | None
    source: str | None
    split: str
    prepared: str
    on_bad: str
    scenario: str
    # The old encoder, or how it is trained.
    old: str | None
    old_flagfile: str
    old_workdir: str
    # Where it is trained, and what is watched meanwhile.
    strategy: str
    replicas: int
    checkpoint_steps: int
    checkpoints_kept: int
    nan_limit: int
    validation: Sequence[str] | None
    keep_best: str
    # What comes of it.
    protocol: Sequence[str] | None
    formats: Sequence[str]
    flip_and_add: bool
    data_licence: str

    @property
    def view(self) -> str:
        """The part of the data set that is trained on, where the data set is made here."""
        return VIEW_OF_SCENARIO[self.scenario]

    @cached_property
    def run(self) -> stores.Mirror:
        """The run's folder, which has no default, as this machine works in it."""
        if not self.workdir:
            raise InputError(f"{option('workdir')} is needed; {option('help')} tells what it takes")
        return stores.Mirror(stores.place(self.workdir), last=MANIFEST)

    def folder(self) -> Path:
        """Returns the run's folder on this machine."""
        return self.run.here
