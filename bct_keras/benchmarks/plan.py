"""What a benchmark trains: scenarios x old encoders x methods x seeds, each thing once.

A run's folder has in its name the fingerprint of all that it is made from. So what is missing is what has no folder,
another recipe makes other runs beside the first ones, and two cells that need the same training share it.
"""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bct_keras import artefacts
from bct_keras.data.splits import VIEW_OF_SCENARIO
from bct_keras.encoders import RUN_KIND, load_encoder
from bct_keras.errors import InputError
from bct_keras.recipe import Recipe

CUTS = ("class", "data")
SCENARIOS = {f"{training}-{cut}": (training, cut) for training in VIEW_OF_SCENARIO for cut in CUTS}
REFERENCE = (
    "independent"  # the same network without constraint: what gains and taxes are measured against
)
LABEL = re.compile(r"(?P<name>[\w.+-]+):\s+(?P<rest>.+)", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """`NAME: SPEC --flag=value ...`: an old encoder or a method, and in what its training differs from the others."""

    name: str
    spec: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One run to train, by the flags of bct_keras.train."""

    name: str
    folder: Path
    arguments: tuple[str, ...]
    after: Path | None = None  # the old encoder's run, if it is trained too
    turns: str = ""  # jobs with the same text write files beside their data, and so take turns

    @property
    def done(self) -> bool:
        return self.folder.is_dir() and artefacts.kind_of(self.folder) == RUN_KIND


@dataclass(frozen=True)
class Cell:
    """One place of the table for one seed: a new encoder's run and the old encoder whose gallery it searches."""

    scenario: str
    old: str
    method: str
    seed: int
    run: Path
    old_encoder: Path

    @property
    def name(self) -> str:
        return f"{self.scenario}, old encoder {self.old}, {self.method}, seed {self.seed}"


def parse_entry(text: str) -> Entry:
    """Without a name it is called what its spec says."""
    match = LABEL.fullmatch(text.strip())
    spec, *arguments = re.split(r"(?:^|\s+)(?=--\w)", match["rest"] if match else text.strip())
    name = match["name"] if match else spec
    if not name:
        raise InputError(f"'{text}' has no name: give it one in front, as in weak: --head=softmax")
    return Entry(name, spec, tuple(argument.strip() for argument in arguments))


def parse_entries(flag: str, texts: Iterable[str]) -> list[Entry]:
    entries = [parse_entry(text) for text in texts]
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"--{flag} has two entries called '{name}'; give one another name in front, as in b: {name}"
            )
    return entries


def with_reference(methods: list[Entry]) -> list[Entry]:
    if any(method.spec == REFERENCE for method in methods):
        return methods
    return [Entry(REFERENCE, REFERENCE), *methods]


class Plan:
    """Jobs in the order in which they are best started, and the cells that come of them."""

    def __init__(
        self, workdir: Path, shared: list[str], data: dict[str, tuple[Path, str]], recipe_of
    ):
        self.workdir = workdir
        self.shared = shared  # flags of every training
        self.data = data  # for each cut the data set and its fingerprint
        self.recipe_of = recipe_of  # [flags] -> Recipe: so that a typo is told before any work
        self.jobs: dict[Path, Job] = {}
        self.cells: list[Cell] = []
        self.reference = REFERENCE

    def add(
        self, scenarios: list[str], olds: list[Entry], methods: list[Entry], seeds: list[int]
    ) -> None:
        self.reference = next(method.name for method in methods if method.spec == REFERENCE)
        for seed, scenario, old in itertools.product(seeds, scenarios, olds):
            place, dims = self.old_encoder(SCENARIOS[scenario][1], old, seed)
            for method in methods:
                run = self.new_encoder(scenario, (old.name, place, dims), method, seed)
                self.cells.append(Cell(scenario, old.name, method.name, seed, run, place))
        # Old encoders first, since the others wait for them.
        self.jobs = dict(sorted(self.jobs.items(), key=lambda item: item[1].after is not None))

    def old_encoder(self, cut: str, old: Entry, seed: int) -> tuple[Path, int]:
        """Where it is or will be, and its dimensions."""
        if old.spec:
            return Path(old.spec), load_encoder(old.spec).dims
        arguments = [*self.shared, *old.arguments]
        recipe: Recipe = self.recipe_of(arguments, REFERENCE)
        job = self.job(
            ("old", cut, old.name), arguments, REFERENCE, seed, self.data[cut][0] / "old", cut
        )
        return job.folder, recipe.dims

    def new_encoder(
        self, scenario: str, old: tuple[str, Path, int], method: Entry, seed: int
    ) -> Path:
        training, cut = SCENARIOS[scenario]
        old_name, place, dims = old
        arguments = [*self.shared, f"--dims={dims}", *method.arguments]
        recipe: Recipe = self.recipe_of(arguments, method.spec)
        if recipe.old_dims != dims:
            raise InputError(
                f"'{method.name}' trains {recipe.old_dims} compatible dimensions and the old encoder '{old_name}' has "
                f"{dims}: leave --dims out, or give --compatible_dims={dims} with more"
            )
        view = self.data[cut][0] / VIEW_OF_SCENARIO[training]
        if not recipe.build_method().needs_old:
            return self.job((scenario, method.name), arguments, method.spec, seed, view, cut).folder
        return self.job(
            (scenario, old_name, method.name), arguments, method.spec, seed, view, cut, place
        ).folder

    def job(
        self,
        names: tuple[str, ...],
        arguments: list[str],
        method: str,
        seed: int,
        view: Path,
        cut: str,
        old: Path | None = None,
    ) -> Job:
        made_from = [
            arguments,
            method,
            seed,
            view.name,
            self.data[cut][1],
            str(old) if old else None,
        ]
        *above, name = (slug(name) for name in names)
        folder = self.workdir.joinpath(
            "runs", *above, f"{name}-seed{seed}-{artefacts.fingerprint(made_from)[:10]}"
        )
        own = {
            "method": method,
            "seed": seed,
            "data": view,
            "workdir": folder,
            "formats": "none",
            "protocol": "none",
        }
        if old:
            own["old"] = old
        flags = (*arguments, *(f"--{flag}={value}" for flag, value in own.items()))
        title = f"{', '.join(names)}, seed {seed}"
        after = old if old in self.jobs else None
        return self.jobs.setdefault(
            folder, Job(title, folder, flags, after, f"{view} {old}" if old else "")
        )


def slug(name: str) -> str:
    """As a file's name: letters, digits and what cannot be taken for anything else."""
    return re.sub(r"[^\w.=-]+", "_", name).strip("_")
