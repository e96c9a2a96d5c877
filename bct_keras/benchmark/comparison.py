"""What a benchmark is asked for, and what it has to do: the data sets, the trainings, the cells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bct_keras import specs
from bct_keras.benchmark.cells import Cut
from bct_keras.benchmark.plan import (
    CUTS,
    REFERENCE,
    SCENARIOS,
    Entry,
    Options,
    Plan,
    with_reference,
)
from bct_keras.benchmark.routes import Route, parse_route
from bct_keras.data.dataset import open_data_set
from bct_keras.errors import InputError, option
from bct_keras.evaluate import held_out
from bct_keras.prepare.run import prepare
from bct_keras.processes import cores
from bct_keras.progress import Say


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that decides what a benchmark does."""

    workdir: Path  # for data, runs and the report
    shared: Options  # of every training
    # What is compared, each with each.
    olds: list[Entry]
    methods: list[Entry]
    scenarios: list[str]
    seeds: list[int]
    routes: list[Entry] = field(default_factory=list)  # made of the runs of methods
    # What the data sets are made from.
    source: str
    split: str
    on_bad: str = "fail"
    within: tuple[float, float] | None = None  # shares of the source's identities; None: all
    part: str = ""  # names the data sets and the runs of identities of their own
    # How many settings of each method are tried first, on which share of the identities.
    tune: int = 0
    tune_share: float = 0.25
    # How cells are measured and told.
    protocol: str | None = None  # None is retrieval on the split's test view
    metric: str = "TAR@FAR=1e-3"
    metric_is_asked_for: bool = False  # else another may stand in its place
    jobs: int = 0  # trainings at once; 0 is one for every two cores
    # What was asked for, in the words of the report.
    told: Mapping[str, Any] = field(default_factory=dict)

    def trainings_at_once(self) -> int:
        """Returns how many trainings share this machine."""
        return self.jobs or max(1, cores() // 2)

    def check(self) -> None:
        """Raises for a typo, before the data are made."""
        if not 0 < self.tune_share < 1:
            share = option("tune_share", self.tune_share)
            raise InputError(f"{share} has to be between 0 and 1")
        for name in self.scenarios:
            if name not in SCENARIOS:
                raise InputError(f"unknown scenario '{name}'; known: {', '.join(SCENARIOS)}")
        for entry in self.olds:
            options = self.shared + entry.options
            options.recipe(REFERENCE)
        for entry in with_reference(self.methods):
            options = self.shared + entry.options
            options.recipe(entry.spec)
        self.built_routes()

    def built_routes(self) -> list[Route]:
        """Returns the routes; raises for one that is none, or is made of no method here."""
        methods = [method.name for method in with_reference(self.methods)]
        found = []
        for entry in self.routes:
            if entry.options.written:
                raise InputError(f"{option('route', entry.spec)} is not trained and has no options")
            if entry.name in methods:
                raise InputError(f"'{entry.name}' is both a method and a route: name one otherwise")
            found.append(parse_route(entry.name, entry.spec, methods))
        return found


def planned(comparison: Comparison, say: Say) -> Plan:
    """Returns all of it, checked before any work but the making of the data."""
    methods = with_reference(comparison.methods)
    comparison.check()
    needed = {SCENARIOS[name][1] for name in comparison.scenarios}
    data = {}
    for cut in CUTS:
        if cut in needed:
            data[cut] = prepared(comparison, cut, say)
    folder = comparison.workdir / comparison.part
    plan = Plan(folder, comparison.shared, data)
    plan.add(comparison.scenarios, comparison.olds, methods, comparison.seeds)
    plan.add_routes(comparison.built_routes())
    return plan


def prepared(comparison: Comparison, cut: str, say: Say) -> Cut:
    """Makes the data set of a class or data split, with the shares that the split names."""
    _, positional, keywords = specs.parse(comparison.split)
    arguments = list(positional)
    for key, value in keywords.items():
        arguments.append(f"{key}={value}")
    if comparison.within:
        arguments.append(f"within={comparison.within}")
    split = f"{cut}({', '.join(arguments)})"
    name = f"{comparison.part}-{cut}" if comparison.part else cut
    folder = comparison.workdir / "data" / name
    made = prepare(comparison.source, split, folder, on_bad=comparison.on_bad)
    say(made)
    return Cut(folder, open_data_set(folder).fingerprint)


def protocol_of(comparison: Comparison, data: Path) -> str:
    """Returns how the cells of a data set are measured."""
    if comparison.protocol:
        return comparison.protocol
    found = held_out.test_protocol(open_data_set(data / "new"))
    if not found:
        split = option("split", comparison.split)
        raise InputError(
            f"{split} holds no identities out for the test: give it test_share, or "
            f"{option('protocol')}"
        )
    return found[0]
