"""What a benchmark trains: scenarios x old encoders x methods x seeds, each thing once.

A run's folder has in its name the fingerprint of all that it is made from. So what is missing is
what has no folder, another recipe makes other runs beside the first ones, and two cells that need
the same training share it.
"""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bct_keras import artefacts
from bct_keras.encoders import RUN_KIND, load_encoder
from bct_keras.errors import InputError, option
from bct_keras.prepare.splits import VIEW_OF_SCENARIO
from bct_keras.train.recipe import Recipe

CUTS = ("class", "data")
SCENARIOS = {f"{training}-{cut}": (training, cut) for training in VIEW_OF_SCENARIO for cut in CUTS}
REFERENCE = (
    "independent"  # the same network without constraint: what gains and taxes are measured against
)
LABEL = re.compile(r"(?P<name>[\w.+-]+):\s+(?P<rest>.+)", re.DOTALL)


# What reads options as train's command line takes them: their values by name.
Reader = Callable[[Sequence[str]], Mapping[str, Any]]


@dataclass(frozen=True)
class Options:
    """Options of a training, of which the last one of a name counts."""

    written: tuple[str, ...] = ()  # as train's command line takes them; they name a run's folder
    values: Mapping[str, Any] = field(default_factory=dict)

    def __add__(self, other: "Options") -> "Options":
        """Returns these options with others, which count more."""
        return Options(self.written + other.written, {**self.values, **other.values})

    def recipe(self, method: str) -> Recipe:
        """Returns the recipe of a training by these options; a typo in them is told here."""
        names = {each.name for each in dataclasses.fields(Recipe)}
        values: dict[str, Any] = {}
        for name, value in self.values.items():
            if name in names:
                values[name] = value
        values["method"] = method
        return Recipe(**values)


@dataclass(frozen=True)
class Entry:
    """An old encoder or a method, and in what its training differs from the others."""

    name: str
    spec: str
    options: Options = Options()


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
        """Returns what jobs share that write files beside their data, and so take turns; "" for
        none.
        """
        return f"{self.data} {self.old}" if self.old else ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """Returns the command line of bct_keras.train.__main__ that does it."""
        own: dict[str, Any] = {"method": self.recipe.method, "seed": self.recipe.seed}
        own |= {"data": self.data, "workdir": self.folder, "formats": "none", "protocol": "none"}
        if self.old:
            own["old"] = self.old
        return (*self.options.written, *(f"--{name}={value}" for name, value in own.items()))

    @property
    def done(self) -> bool:
        """Tells whether the run is there and whole."""
        return self.folder.is_dir() and artefacts.kind_of(self.folder) == RUN_KIND


@dataclass(frozen=True)
class Cell:
    """One place of the table for one seed: a new encoder's run, and whose gallery it searches."""

    scenario: str
    old: str
    method: str
    seed: int
    run: Path
    old_encoder: Path

    @property
    def name(self) -> str:
        """Returns what the report calls it."""
        return f"{self.scenario}, old encoder {self.old}, {self.method}, seed {self.seed}"


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


def parse_entry(text: str, read: Reader) -> Entry:
    """Reads `NAME: SPEC --option=value ...`; without a name it is called what its spec says."""
    match = LABEL.fullmatch(text.strip())
    spec, *written = re.split(r"(?:^|\s+)(?=--\w)", match["rest"] if match else text.strip())
    name = match["name"] if match else spec
    if not name:
        raise InputError(
            f"'{text}' has no name: give it one in front, as in weak: {option('head', 'softmax')}"
        )
    arguments = tuple(argument.strip() for argument in written)
    return Entry(name, spec, Options(arguments, read(arguments)))


def parse_entries(kind: str, texts: Iterable[str], read: Reader) -> list[Entry]:
    """Reads the entries of one kind, `old` or `method`, whose names have to differ."""
    entries = [parse_entry(text, read) for text in texts]
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"{option(kind)} has two entries called '{name}'; give one another name in front, "
                f"as in b: {name}"
            )
    return entries


def with_reference(methods: list[Entry]) -> list[Entry]:
    """Returns the methods with the network without constraint among them."""
    if any(method.spec == REFERENCE for method in methods):
        return methods
    return [Entry(REFERENCE, REFERENCE), *methods]


class Plan:
    """Jobs in the order in which they are best started, and the cells that come of them."""

    def __init__(self, workdir: Path, shared: Options, data: Mapping[str, Cut]):
        self.workdir = workdir
        self.shared = shared  # options of every training
        self.data = data
        self.jobs: dict[Path, Job] = {}
        self.cells: list[Cell] = []
        self.reference = REFERENCE

    def add(
        self, scenarios: list[str], olds: list[Entry], methods: list[Entry], seeds: list[int]
    ) -> None:
        """Plans every scenario with every old encoder, method and seed."""
        self.reference = next(method.name for method in methods if method.spec == REFERENCE)
        for seed, scenario, entry in itertools.product(seeds, scenarios, olds):
            _, cut = SCENARIOS[scenario]
            old = self.old_encoder(cut, entry, seed)
            for method in methods:
                run = self.new_encoder(scenario, old, method, seed)
                self.cells.append(Cell(scenario, old.name, method.name, seed, run, old.place))
        # Old encoders first, since the others wait for them.
        self.jobs = dict(sorted(self.jobs.items(), key=lambda item: item[1].after is not None))

    def old_encoder(self, cut: str, entry: Entry, seed: int) -> OldEncoder:
        """Returns the one that is there, or plans its training."""
        if entry.spec:
            return OldEncoder(entry.name, Path(entry.spec), load_encoder(entry.spec).dims)
        options = self.shared + entry.options
        recipe = dataclasses.replace(options.recipe(REFERENCE), seed=seed)
        job = self.job(("old", cut, entry.name), recipe, options, self.data[cut], "old")
        return OldEncoder(entry.name, job.folder, recipe.dims)

    def new_encoder(self, scenario: str, old: OldEncoder, method: Entry, seed: int) -> Path:
        """Plans the training of a method, and returns its run's folder."""
        training, cut = SCENARIOS[scenario]
        dims = Options((f"--dims={old.dims}",), {"dims": old.dims})
        options = self.shared + dims + method.options
        recipe = dataclasses.replace(options.recipe(method.spec), seed=seed)
        if recipe.old_dims != old.dims:
            raise InputError(
                f"'{method.name}' trains {recipe.old_dims} compatible dimensions and the old "
                f"encoder '{old.name}' has {old.dims}: leave {option('dims')} out, or give "
                f"{option('compatible_dims', old.dims)} with more"
            )
        view = VIEW_OF_SCENARIO[training]
        if not recipe.build_method().needs_old:
            names = (scenario, method.name)
            return self.job(names, recipe, options, self.data[cut], view).folder
        names = (scenario, old.name, method.name)
        return self.job(names, recipe, options, self.data[cut], view, old.place).folder

    def job(
        self,
        names: tuple[str, ...],
        recipe: Recipe,
        options: Options,
        cut: Cut,
        view: str,
        old: Path | None = None,
    ) -> Job:
        """Plans a training, or returns the one that another cell needs too.

        Args:
            names: Of its folder and those above; the last one is the run's.
            recipe: What is trained.
            options: Those that the recipe comes of, as they were written.
            cut: The data set.
            view: The part of it to train on.
            old: The old encoder, where the method needs it.
        """
        # A benchmark that was made before finds its runs by this list: it stays as it is.
        written, old_place = list(options.written), str(old) if old else None
        made_from = [written, recipe.method, recipe.seed, view, cut.fingerprint, old_place]
        *above, name = (slug(name) for name in names)
        run = f"{name}-seed{recipe.seed}-{artefacts.fingerprint(made_from)[:10]}"
        folder = self.workdir.joinpath("runs", *above, run)
        job = Job(
            name=f"{', '.join(names)}, seed {recipe.seed}",
            folder=folder,
            recipe=recipe,
            data=cut.folder / view,
            old=old,
            options=options,
            after=old if old in self.jobs else None,
        )
        return self.jobs.setdefault(folder, job)


def slug(name: str) -> str:
    """Returns a name as a file's: letters, digits and what cannot be taken for anything else."""
    return re.sub(r"[^\w.=-]+", "_", name).strip("_")
