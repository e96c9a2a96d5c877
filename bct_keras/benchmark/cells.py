"""The cells of a benchmark's table, and the trainings that fill them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from bct_keras import artefacts
from bct_keras.encoders import RUN_KIND
from bct_keras.train.recipe import Recipe

UNSAFE = re.compile(r"[^\w.=-]+")  # in the name of a file


@dataclass(frozen=True)
class Options:
    """Options of a training, of which the last one of a name counts."""

    written: tuple[str, ...] = ()  # as train's command line takes them; they name a run's folder
    values: Mapping[str, Any] = field(default_factory=dict)

    def __add__(self, other: "Options") -> "Options":
        """Returns these options with others, which count more."""
        written = self.written + other.written
        values = {**self.values, **other.values}
        return Options(written, values)

    def recipe(self, method: str) -> Recipe:
        """Returns the recipe of a training by these options; a typo in them is told here."""
        values: dict[str, Any] = {}
        for each in fields(Recipe):
            if each.name in self.values:
                values[each.name] = self.values[each.name]
        values["method"] = method
        return Recipe(**values)


@dataclass(frozen=True)
class Job:
    """One run to train."""

    name: str
    folder: Path
    recipe: Recipe
    data: Path
    old: Path | None = None  # the old encoder
    options: Options = Options()  # also those that are not of the recipe
    after: Path | None = None  # the old encoder's run, if it is trained too

    @property
    def turns(self) -> str:
        """Names what jobs share that write beside their data, and so take turns; "" for none."""
        return f"{self.data} {self.old}" if self.old else ""

    @property
    def arguments(self) -> Sequence[str]:
        """The arguments of `python -m bct_keras.train` that do the job."""
        own = {
            "method": self.recipe.method,
            "seed": self.recipe.seed,
            "data": self.data,
            "workdir": self.folder,
            "formats": "none",
            "protocol": "none",
        }
        if self.old:
            own["old"] = self.old
        arguments = list(self.options.written)
        for name, value in own.items():
            arguments.append(f"--{name}={value}")
        return tuple(arguments)

    @property
    def done(self) -> bool:
        """Tells whether the run is there and whole."""
        if not self.folder.is_dir():
            return False
        return artefacts.kind_of(self.folder) == RUN_KIND


@dataclass(frozen=True)
class Cell:
    """One place of the table for one seed: a new encoder's run, and whose gallery it searches."""

    scenario: str
    old: str
    method: str
    seed: int
    run: Path
    old_encoder: Path
    data: Path | None = None  # what the run is trained on

    @property
    def name(self) -> str:
        """The cell's name in the report."""
        place = f"{self.scenario}, old encoder {self.old}"
        return f"{place}, {self.method}, seed {self.seed}"


@dataclass(frozen=True)
class Cut:
    """A data set that is divided by classes or by images."""

    folder: Path  # with its views
    fingerprint: str


@dataclass(frozen=True)
class OldEncoder:
    """An old encoder of one cut and one seed."""

    name: str
    place: Path  # where it is or will be
    dims: int


@dataclass(frozen=True, kw_only=True)
class Training:
    """All that decides what comes of one training."""

    names: tuple[str, ...]  # of its folder and those above; the last one is the run's
    method: str
    seed: int
    options: Options
    cut: Cut
    view: str  # the part of the data set to train on
    old: Path | None = None  # the old encoder, where the method needs it

    def place(self) -> Path:
        """Returns the run's folder, below that of all runs."""
        # A benchmark that was made before finds its runs by this list: it stays as it is.
        made_from = [
            list(self.options.written),
            self.method,
            self.seed,
            self.view,
            self.cut.fingerprint,
            str(self.old) if self.old else None,
        ]
        *above, name = (slug(each) for each in self.names)
        fingerprint = artefacts.fingerprint(made_from)
        return Path(*above, f"{name}-seed{self.seed}-{fingerprint[:10]}")


def slug(name: str) -> str:
    """Returns a name as a file's: letters, digits and what cannot be taken for anything else."""
    return UNSAFE.sub("_", name).strip("_")
