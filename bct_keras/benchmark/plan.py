"""What a benchmark trains: scenarios x old encoders x methods x seeds, each thing once.

A run's folder has in its name the fingerprint of all that it is made from. So what is missing is
what has no folder, another recipe makes other runs beside the first ones, and two cells that need
the same training share it.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bct_keras.benchmark.cells import Cell, Cut, Job, OldEncoder, Options, Training
from bct_keras.benchmark.routes import Route
from bct_keras.encoders import load_encoder
from bct_keras.errors import InputError, option
from bct_keras.prepare.splits import VIEW_OF_SCENARIO

CUTS = ("class", "data")
SCENARIOS = {f"{training}-{cut}": (training, cut) for training in VIEW_OF_SCENARIO for cut in CUTS}
# The same network without constraint: what gains and taxes are measured against.
REFERENCE = "independent"
LABEL = re.compile(r"(?P<name>[\w.+-]+):\s+(?P<rest>.+)", re.DOTALL)
BEFORE_OPTION = re.compile(r"(?:^|\s+)(?=--\w)")

# What reads options as train's command line takes them: their values by name.
Reader = Callable[[Sequence[str]], Mapping[str, Any]]


@dataclass(frozen=True)
class Entry:
    """An old encoder or a method, and in what its training differs from the others."""

    name: str
    spec: str
    options: Options = field(default_factory=Options)


def parse_entry(text: str, read: Reader) -> Entry:
    """Reads `NAME: SPEC --option=value ...`; without a name it is called what its spec says.

    Args:
        text: The entry.
        read: Reads the options in it.
    """
    rest = text.strip()
    match = LABEL.fullmatch(rest)
    if match:
        rest = match["rest"]
    spec, *written = BEFORE_OPTION.split(rest)
    name = match["name"] if match else spec
    if not name:
        example = option("head", "softmax")
        raise InputError(f"'{text}' has no name: give it one in front, as in weak: {example}")
    arguments = tuple(argument.strip() for argument in written)
    options = Options(arguments, read(arguments))
    return Entry(name, spec, options)


def parse_entries(kind: str, texts: Iterable[str], read: Reader) -> list[Entry]:
    """Reads the entries of one kind, `old` or `method`, whose names have to differ."""
    entries = [parse_entry(text, read) for text in texts]
    check_names(kind, entries)
    return entries


def check_names(kind: str, entries: Iterable[Entry], when: str = "") -> None:
    """Raises where two entries of one kind have the same name; `when` says since when they do."""
    names = set()
    for entry in entries:
        if entry.name in names:
            raise InputError(
                f"{option(kind)} has two entries called '{entry.name}'{when}; give one another "
                f"name in front, as in b: {entry.name}"
            )
        names.add(entry.name)


def with_reference(methods: list[Entry]) -> list[Entry]:
    """Returns the methods with the network without constraint among them."""
    for method in methods:
        if method.spec == REFERENCE:
            return methods
    reference = Entry(REFERENCE, REFERENCE)
    return [reference, *methods]


class Plan:
    """Jobs in the order in which they are best started, and the cells that come of them."""

    def __init__(self, workdir: Path, shared: Options, data: Mapping[str, Cut]):
        """Begins with nothing planned.

        Args:
            workdir: The folder for all runs.
            shared: Options of every training.
            data: The data sets, by the kind of their split.
        """
        self.workdir = workdir
        self.shared = shared
        self.data = data
        self.jobs: dict[Path, Job] = {}
        self.cells: list[Cell] = []
        self.reference = REFERENCE
        self.routes: dict[str, Route] = {}
        self.needs: dict[str, str] = {}  # what each row of the table needs, in words

    def add(
        self,
        scenarios: list[str],
        olds: list[Entry],
        methods: list[Entry],
        seeds: list[int],
    ) -> None:
        """Plans every scenario with every old encoder, method and seed."""
        references = [method.name for method in methods if method.spec == REFERENCE]
        self.reference = references[0]
        for seed, scenario, entry in itertools.product(seeds, scenarios, olds):
            _, cut = SCENARIOS[scenario]
            old = self.old_encoder(cut, entry, seed)
            for method in methods:
                run = self.new_encoder(scenario, old, method, seed)
                cell = Cell(
                    scenario=scenario,
                    old=old.name,
                    method=method.name,
                    seed=seed,
                    run=run,
                    old_encoder=old.place,
                    data=self.jobs[run].data,
                )
                self.cells.append(cell)
        self.put_old_encoders_first()

    def add_routes(self, routes: Sequence[Route]) -> None:
        """Plans each route in every cell of the method that it is made of."""
        for route in routes:
            self.routes[route.name] = route
            self.needs[route.name] = f"{self.needs[route.of]}, {route.needs}"
            for cell in list(self.cells):
                if cell.method == route.of:
                    self.cells.append(replace(cell, method=route.name))

    def put_old_encoders_first(self) -> None:
        """Puts the jobs that others wait for before those others."""
        first = {}
        later = {}
        for folder, job in self.jobs.items():
            jobs = later if job.after else first
            jobs[folder] = job
        self.jobs = first | later

    def old_encoder(self, cut: str, entry: Entry, seed: int) -> OldEncoder:
        """Returns the encoder that is there, or plans its training.

        Args:
            cut: The kind of the split.
            entry: The old encoder as it was asked for.
            seed: That of its training.
        """
        if entry.spec:
            encoder = load_encoder(entry.spec)
            return OldEncoder(entry.name, Path(entry.spec), encoder.dims)
        options = self.shared + entry.options
        job = self.job(
            Training(
                names=("old", cut, entry.name),
                method=REFERENCE,
                seed=seed,
                options=options,
                cut=self.data[cut],
                view="old",
            )
        )
        return OldEncoder(entry.name, job.folder, job.recipe.dims)

    def new_encoder(self, scenario: str, old: OldEncoder, method: Entry, seed: int) -> Path:
        """Plans the training of a method, and returns its run's folder.

        Args:
            scenario: Which images are whose.
            old: The old encoder.
            method: The method as it was asked for.
            seed: That of the training.
        """
        training, cut = SCENARIOS[scenario]
        dims = Options((f"--dims={old.dims}",), {"dims": old.dims})
        options = self.shared + dims + method.options
        recipe = options.recipe(method.spec)
        if recipe.old_dims != old.dims:
            raise InputError(
                f"'{method.name}' trains {recipe.old_dims} compatible dimensions and the old "
                f"encoder '{old.name}' has {old.dims}: leave {option('dims')} out, or give "
                f"{option('compatible_dims', old.dims)} with more"
            )
        built = recipe.build_method()
        self.needs[method.name] = built.needs_in_words
        needs_old = built.needs_old
        names = (scenario, old.name, method.name) if needs_old else (scenario, method.name)
        planned = Training(
            names=names,
            method=method.spec,
            seed=seed,
            options=options,
            cut=self.data[cut],
            view=VIEW_OF_SCENARIO[training],
            old=old.place if needs_old else None,
        )
        return self.job(planned).folder

    def job(self, training: Training) -> Job:
        """Plans a training, or returns the one that another cell needs too."""
        folder = self.workdir / "runs" / training.place()
        if folder not in self.jobs:
            old = training.old
            recipe = training.options.recipe(training.method)
            self.jobs[folder] = Job(
                name=f"{', '.join(training.names)}, seed {training.seed}",
                folder=folder,
                recipe=replace(recipe, seed=training.seed),
                data=training.cut.folder / training.view,
                old=old,
                options=training.options,
                after=old if old in self.jobs else None,
            )
        return self.jobs[folder]
