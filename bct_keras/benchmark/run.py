"""A whole benchmark: the data, the trainings that are missing, every cell measured, one report.

What is done already is not done again.
"""

from collections.abc import Callable
from typing import Any

from bct_keras import artefacts
from bct_keras.benchmark import following, ranking_tables, report
from bct_keras.benchmark.comparison import Comparison, planned
from bct_keras.benchmark.plan import SCENARIOS, Plan
from bct_keras.benchmark.tuning import Tuning, of_the_rest, renamed, tuned
from bct_keras.benchmark.work import Measured, carry_out
from bct_keras.data.dataset import open_data_set
from bct_keras.errors import InputError
from bct_keras.evaluate.report import aligned
from bct_keras.prepare.splits import VIEW_OF_SCENARIO
from bct_keras.progress import Outcome, Say


def benchmark(
    comparison: Comparison, say: Say, conclude: Callable[[Outcome], None]
) -> dict[str, Any]:
    """Trains what is missing, measures every cell and writes the report.

    Args:
        comparison: What is compared.
        say: Takes each line for a person.
        conclude: Takes the result.

    Returns:
        What report.json says. Cells that failed are an error, after the report is written.
    """
    out = comparison.workdir / "report"
    artefacts.check_place(out, report.KIND)
    # Trainings hold the lock too, so that those of a killed benchmark are waited for, not doubled.
    holder = "what another benchmark, perhaps a killed one, is still training"
    with artefacts.alone(comparison.workdir, holder) as lock:
        if comparison.tune:
            comparison = renamed(comparison)
        comparison.check()
        tuning = None
        if comparison.tune:
            tuning = tuned(comparison, lock, say)
            comparison = of_the_rest(comparison, tuning)
        plan = planned(comparison, say)
        measured = carry_out(comparison, plan, lock, say)
        found = findings(comparison, plan, measured, tuning)
    conclude(outcome(found, comparison, plan))
    if measured.missing:
        first = next(iter(measured.missing))
        counts = f"{len(measured.missing)} of {len(plan.cells)}"
        raise InputError(f"{counts} cells failed, the report names them: {first}")
    return found


def findings(
    comparison: Comparison, plan: Plan, measured: Measured, tuning: Tuning | None
) -> dict[str, Any]:
    """Writes the report, and returns what report.json says."""
    made_from = facts_of(comparison, plan)
    found = report.findings(
        measured.results,
        plan.reference,
        comparison.metric,
        failed=measured.missing,
        made_from=made_from,
        asked=comparison.metric_is_asked_for,
        needs=plan.needs,
    )
    if tuning:
        found["tuning"] = tuning.facts()
    report.write(found, made_from, comparison.workdir / "report")
    return found


def outcome(found: dict[str, Any], comparison: Comparison, plan: Plan) -> Outcome:
    """Returns what a benchmark has come to: the ranking, and the best row in a sentence."""
    page = comparison.workdir / "report" / "report.html"
    lines = [*aligned(ranking_tables.rows(found["ranking"])), found["title"], f"report: {page}"]
    then = following.after(found, comparison, plan)
    return Outcome("\n".join(lines), {**found, "report": page}, then)


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
