"""A whole benchmark: the data, the trainings that are missing, every cell measured, one report.

What is done already is not done again.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bct_keras import artefacts, specs
from bct_keras.benchmark import report, spreads, tables
from bct_keras.benchmark.cells import Cell, Cut, Job
from bct_keras.benchmark.jobs import Runner
from bct_keras.benchmark.measuring import Measuring
from bct_keras.benchmark.plan import (
    CUTS,
    REFERENCE,
    SCENARIOS,
    Entry,
    Options,
    Plan,
    with_reference,
)
from bct_keras.data.dataset import open_data_set
from bct_keras.errors import InputError, option
from bct_keras.evaluate import held_out
from bct_keras.evaluate.report import aligned
from bct_keras.prepare.run import prepare
from bct_keras.prepare.splits import VIEW_OF_SCENARIO
from bct_keras.processes import cores
from bct_keras.progress import Say

Measure = Callable[[Cell], dict[str, Any]]


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
    # What the data sets are made from.
    source: str
    split: str
    on_bad: str = "fail"
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


@dataclass(frozen=True)
class Outcome:
    """What came of the cells."""

    results: spreads.Results
    missing: dict[str, str]  # why, by the name of the cell


def benchmark(comparison: Comparison, say: Say) -> dict[str, Any]:
    """Trains what is missing, measures every cell and writes the report.

    Args:
        comparison: What is compared.
        say: Takes each line for a person.

    Returns:
        What report.json says. Cells that failed are an error, after the report is written.
    """
    out = comparison.workdir / "report"
    artefacts.check_place(out, report.KIND)
    # Trainings hold the lock too, so that those of a killed benchmark are waited for, not doubled.
    holder = "what another benchmark, perhaps a killed one, is still training"
    with artefacts.alone(comparison.workdir, holder) as lock:
        plan = planned(comparison, say)
        outcome = carry_out(comparison, plan, lock, say)
        found = tell(comparison, plan, outcome, say)
    if outcome.missing:
        first = next(iter(outcome.missing))
        counts = f"{len(outcome.missing)} of {len(plan.cells)}"
        raise InputError(f"{counts} cells failed, the report names them: {first}")
    return found


def planned(comparison: Comparison, say: Say) -> Plan:
    """Returns all of it, checked before any work but the making of the data."""
    methods = with_reference(comparison.methods)
    for name in comparison.scenarios:
        if name not in SCENARIOS:
            raise InputError(f"unknown scenario '{name}'; known: {', '.join(SCENARIOS)}")
    # A typo is told before the data are made.
    for entry in comparison.olds:
        options = comparison.shared + entry.options
        options.recipe(REFERENCE)
    for entry in methods:
        options = comparison.shared + entry.options
        options.recipe(entry.spec)
    needed = {SCENARIOS[name][1] for name in comparison.scenarios}
    data = {}
    for cut in CUTS:
        if cut in needed:
            data[cut] = prepared(comparison, cut, say)
    plan = Plan(comparison.workdir, comparison.shared, data)
    plan.add(comparison.scenarios, comparison.olds, methods, comparison.seeds)
    return plan


def prepared(comparison: Comparison, cut: str, say: Say) -> Cut:
    """Makes the data set of a class or data split, with the shares that the split names."""
    _, positional, keywords = specs.parse(comparison.split)
    arguments = list(positional)
    for key, value in keywords.items():
        arguments.append(f"{key}={value}")
    split = f"{cut}({', '.join(arguments)})"
    folder = comparison.workdir / "data" / cut
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


def carry_out(comparison: Comparison, plan: Plan, lock: int, say: Say) -> Outcome:
    """Trains what is missing, and measures every cell as soon as its runs are there.

    Args:
        comparison: What is compared.
        plan: The trainings and the cells.
        lock: The open file of the folder's lock, which the trainings inherit.
        say: Takes a line as each training ends.
    """
    protocols = {}
    for name, cut in plan.data.items():
        protocols[name] = protocol_of(comparison, cut.folder)
    measuring = Measuring(comparison.workdir / "embeddings")

    def measure(cell: Cell) -> dict[str, Any]:
        _, cut = SCENARIOS[cell.scenario]
        return measuring.measure(cell, protocols[cut])

    jobs = list(plan.jobs.values())
    logs = comparison.workdir / "logs"
    runner = Runner(jobs, comparison.trainings_at_once(), logs, lock)
    trainings = f"{len(jobs)} trainings, of which {runner.total} are missing"
    say(f"{len(plan.cells)} cells, {trainings}")
    failed = runner.run(Progress(runner.total, measure, plan.cells, say))
    return collected(plan, measure, failed)


class Progress:
    """Says a line as each training ends, and measures its cells then."""

    def __init__(self, total: int, measure: Measure, cells: list[Cell], say: Say):
        self.total = total
        self.done = 0
        self.started = time.monotonic()
        self.measure = measure
        self.cells = cells
        self.say = say

    def __call__(self, job: Job, failed: str | None) -> None:
        """Takes note of a training that has ended, and why it failed if it did."""
        self.done += 1
        outcome = failed or "trained"
        minutes = self.seconds_left() / 60
        self.say(f"[{self.done}/{self.total}] {job.name}: {outcome}, {minutes:.0f} min left")
        if failed:
            return
        for cell in self.cells:
            if cell.run == job.folder:
                # Another try is made at the end, and an error told there.
                with contextlib.suppress(InputError):
                    self.measure(cell)

    def seconds_left(self) -> float:
        """Returns how long the other trainings take, if each takes as long as those that ended."""
        passed = time.monotonic() - self.started
        seconds_each = passed / self.done
        return seconds_each * (self.total - self.done)


def collected(plan: Plan, measure: Measure, failed: Mapping[Path, str]) -> Outcome:
    """Returns the results of all cells in the order of the flags, and the reason for each gap.

    Args:
        plan: The cells.
        measure: Returns what a cell comes to.
        failed: Why a run failed, by its folder.
    """
    results: spreads.Results = {}
    missing = {}
    for cell in plan.cells:
        place = (cell.scenario, cell.old, cell.method)
        results.setdefault(place, {})
        why = failed.get(cell.run) or failed.get(cell.old_encoder)
        if why:
            missing[cell.name] = why
            continue
        try:
            results[place][cell.seed] = measure(cell)
        except InputError as error:
            missing[cell.name] = str(error)
    measured = {place: by_seed for place, by_seed in results.items() if by_seed}
    return Outcome(measured, missing)


def tell(comparison: Comparison, plan: Plan, outcome: Outcome, say: Say) -> dict[str, Any]:
    """Writes the report, says what it comes to, and returns what report.json says."""
    made_from = facts_of(comparison, plan)
    found = report.findings(
        outcome.results,
        plan.reference,
        comparison.metric,
        failed=outcome.missing,
        made_from=made_from,
        asked=comparison.metric_is_asked_for,
    )
    out = comparison.workdir / "report"
    report.write(found, made_from, out)
    for line in aligned(tables.ranking(found["ranking"])):
        say(line)
    say(found["title"])
    say(f"report: {out / 'report.html'}")
    return found


def facts_of(comparison: Comparison, plan: Plan) -> dict[str, Any]:
    """Returns what the report is made from, by name."""
    facts: dict[str, Any] = dict(comparison.told)
    facts["train"] = list(comparison.shared.written)
    facts["epochs"] = comparison.shared.values["epochs"]
    for name, cut in plan.data.items():
        facts[f"data, {name}"] = cut.fingerprint
    for name in comparison.scenarios:
        training, cut = SCENARIOS[name]
        view = plan.data[cut].folder / VIEW_OF_SCENARIO[training]
        facts[f"classes, {name}"] = open_data_set(view).classes
    runs = []
    for cell in plan.cells:
        folder = cell.run.relative_to(comparison.workdir)
        runs.append(str(folder))
    facts["runs"] = sorted(runs)
    return facts
