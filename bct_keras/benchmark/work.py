"""The work of a benchmark: trains what is missing, and measures every cell."""

import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bct_keras.benchmark import spreads
from bct_keras.benchmark.cells import Cell, Job
from bct_keras.benchmark.comparison import Comparison, protocol_of
from bct_keras.benchmark.jobs import Runner
from bct_keras.benchmark.measuring import Measuring
from bct_keras.benchmark.plan import SCENARIOS, Plan
from bct_keras.errors import InputError
from bct_keras.progress import Say

Measure = Callable[[Cell], dict[str, Any]]


@dataclass(frozen=True)
class Measured:
    """What came of the cells."""

    results: spreads.Results
    missing: dict[str, str]  # why, by the name of the cell


def carry_out(
    comparison: Comparison, plan: Plan, lock: int, say: Say, with_refresh: bool = True
) -> Measured:
    """Trains what is missing, and measures every cell as soon as its runs are there.

    Args:
        comparison: What is compared.
        plan: The trainings and the cells.
        lock: The open file of the folder's lock, which the trainings inherit.
        say: Takes a line as each training ends.
        with_refresh: Whether hot refresh is measured too.
    """
    protocols = {}
    for name, cut in plan.data.items():
        protocols[name] = protocol_of(comparison, cut.folder)
    measuring = Measuring(comparison.workdir / "embeddings")

    def measure(cell: Cell) -> dict[str, Any]:
        _, cut = SCENARIOS[cell.scenario]
        found = measuring.measure(cell, protocols[cut], plan.routes.get(cell.method))
        if with_refresh:
            areas = measuring.refresh(cell, protocols[cut], plan.routes.get(cell.method))
            found["hot_refresh"] = areas
        return found

    jobs = list(plan.jobs.values())
    logs = comparison.workdir / "logs"
    runner = Runner(jobs, comparison.trainings_at_once(), logs, lock)
    trainings = f"{len(jobs)} trainings, of which {runner.total} are missing"
    say(f"{len(plan.cells)} cells, {trainings}")
    with MeasuredMeanwhile(measure) as meanwhile:
        failed = runner.run(Progress(runner.total, meanwhile.measure, plan.cells, say))
        meanwhile.wait()
    return collected(plan, measure, failed)


class MeasuredMeanwhile:
    """Measures cells in a thread of its own, so that no training waits for it to start.

    To fit the adapter of a route takes as long as a training of a small network.
    """

    def __init__(self, measure: Measure):
        """Takes what measures a cell, and keeps what it has found."""
        self.thread = ThreadPoolExecutor(1)
        self.of_cell = measure
        self.asked: list[Future] = []

    def __enter__(self) -> "MeasuredMeanwhile":
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.shutdown(cancel_futures=True)

    def measure(self, cell: Cell) -> None:
        """Has a cell measured when those before it are."""
        self.asked.append(self.thread.submit(self.of_cell, cell))

    def wait(self) -> None:
        """Waits until all are measured."""
        for asked in self.asked:
            # Another try is made at the end, and an error told there.
            with contextlib.suppress(InputError):
                asked.result()


class Progress:
    """Says a line as each training ends, and has its cells measured then."""

    def __init__(self, total: int, measure: Callable[[Cell], None], cells: list[Cell], say: Say):
        """Takes how many trainings there are, and what has a cell measured."""
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
                self.measure(cell)

    def seconds_left(self) -> float:
        """Returns how long the other trainings take, if each takes as long as those that ended."""
        passed = time.monotonic() - self.started
        seconds_each = passed / self.done
        return seconds_each * (self.total - self.done)


def collected(plan: Plan, measure: Measure, failed: Mapping[Path, str]) -> Measured:
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
    return Measured(measured, missing)
