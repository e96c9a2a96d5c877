"""Tunes every method alike: the same number of settings of each, on identities of their own.

The first identities of the source are for that, with a seed of its own, and the table is of the
rest.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bct_keras import specs
from bct_keras.benchmark import spreads
from bct_keras.benchmark.comparison import Comparison, planned
from bct_keras.benchmark.plan import REFERENCE, SCENARIOS, Entry, Plan, check_names
from bct_keras.benchmark.ranking import mean
from bct_keras.benchmark.settings import ranges_of, settings_of
from bct_keras.benchmark.work import Measured, carry_out
from bct_keras.data.dataset import open_data_set
from bct_keras.errors import InputError, option
from bct_keras.progress import Say

PART = "tuning"
BY_SCORE = "the harmonic mean of update gain and kept self-test"
BY_DIFFERENCE = (
    "gain less tax, as the network without constraint is not above each old encoder there, which "
    "leaves update gain undefined"
)


@dataclass(frozen=True)
class Tried:
    """What a setting comes to, as means over the old encoders; None where one is missing."""

    spec: str
    score: float | None  # what the choice goes by
    gain: float | None
    tax: float | None
    failed: str | None = None  # why, where a cell of it could not be measured


@dataclass(frozen=True)
class TunedMethod:
    """The settings of one method that were tried, and the one that the table has."""

    name: str
    possible: int  # how many settings its ranges have
    tried: tuple[Tried, ...]
    chosen: str


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What was tried on the tuning part, and what came of it."""

    budget: int
    share: float
    identities: int
    scenario: str
    seed: int
    metric: str
    scored_by: str
    methods: tuple[TunedMethod, ...]

    def facts(self) -> dict[str, Any]:
        """Returns what report.json says of it."""
        return asdict(self)


@dataclass(frozen=True)
class Candidate:
    """A method with the entries of its settings, of which each is trained."""

    method: Entry
    possible: int
    settings: tuple[Entry, ...]


def tuned(comparison: Comparison, lock: int, say: Say) -> Tuning:
    """Trains every setting on the tuning part, and chooses the best one of each method.

    Args:
        comparison: What the table is asked for.
        lock: The open file of the folder's lock, which the trainings inherit.
        say: Takes each line for a person.
    """
    candidates = candidates_of(comparison)
    tuning_part = of_tuning(comparison, candidates)
    say(f"tuning: {comparison.tune} settings of each method")
    plan = planned(tuning_part, say)
    measured = carry_out(tuning_part, plan, lock, say, with_refresh=False)
    found = judged(tuning_part, candidates, plan, measured)
    for method in found.methods:
        say(f"tuned {method.name}: {method.chosen}")
    return found


def judged(
    comparison: Comparison, candidates: Sequence[Candidate], plan: Plan, measured: Measured
) -> Tuning:
    """Returns the best setting of each method.

    Args:
        comparison: The comparison of all settings.
        candidates: The settings of each method.
        plan: Their cells.
        measured: What was measured of each.
    """
    _, cut = SCENARIOS[comparison.scenarios[0]]
    data = open_data_set(plan.data[cut].folder)
    table = spreads.cells(measured.results, plan.reference)
    if not table:
        why = next(iter(measured.missing.values()))
        raise InputError(f"no cell of the tuning part could be measured: {why}")
    metric = metric_of(comparison, list(table[0]["metrics"]))
    by_score = all(row["metrics"][metric]["update_gain"]["mean"] is not None for row in table)
    methods = []
    for candidate in candidates:
        tried = []
        for setting in candidate.settings:
            rows = [row for row in table if row["method"] == setting.name]
            why = why_missing(setting.name, plan, measured)
            tried.append(comes_to(setting.spec, rows, metric, by_score, why))
        best = best_of(tried)
        name = candidate.method.name
        methods.append(TunedMethod(name, candidate.possible, tuple(tried), best.spec))
    return Tuning(
        budget=comparison.tune,
        share=comparison.tune_share,
        identities=data.classes,
        scenario=comparison.scenarios[0],
        seed=comparison.seeds[0],
        metric=metric,
        scored_by=BY_SCORE if by_score else BY_DIFFERENCE,
        methods=tuple(methods),
    )


def renamed(comparison: Comparison) -> Comparison:
    """Returns the comparison with methods that are called by a setting called by their kind.

    The setting that is chosen may be another one, and the name would lie.
    """
    methods = []
    for method in comparison.methods:
        if method.name == method.spec and ranges_of(method.spec):
            method = replace(method, name=specs.parse(method.spec).name)
        methods.append(method)
    check_names("method", methods, " once they are tuned")
    return replace(comparison, methods=methods)


def candidates_of(comparison: Comparison) -> list[Candidate]:
    """Returns the settings to try of each method that has ranges."""
    found = []
    for method in comparison.methods:
        if not ranges_of(method.spec):
            continue
        settings = settings_of(method.spec, comparison.tune)
        entries = []
        for number, spec in enumerate(settings.tried, 1):
            entries.append(Entry(f"{method.name}-{number}", spec, method.options))
        found.append(Candidate(method, settings.possible, tuple(entries)))
    return found


def of_tuning(comparison: Comparison, candidates: Sequence[Candidate]) -> Comparison:
    """Returns the comparison of all settings on the tuning part."""
    settings = [method for method in comparison.methods if method.spec == REFERENCE]
    for candidate in candidates:
        settings += candidate.settings
    return replace(
        comparison,
        methods=settings,
        routes=[],
        scenarios=comparison.scenarios[:1],
        seeds=[max(comparison.seeds, default=-1) + 1],
        within=(0.0, comparison.tune_share),
        part=PART,
        protocol=None,  # another one may have the table's own images
    )


def of_the_rest(comparison: Comparison, tuning: Tuning) -> Comparison:
    """Returns the comparison of the methods as they are tuned, on the other identities."""
    specs_chosen = {method.name: method.chosen for method in tuning.methods}
    methods = []
    for method in comparison.methods:
        spec = specs_chosen.get(method.name, method.spec)
        methods.append(replace(method, spec=spec))
    return replace(comparison, methods=methods, within=(comparison.tune_share, 1.0))


def metric_of(comparison: Comparison, measured: Sequence[str]) -> str:
    """Returns the metric that is asked for, or the first one where that is the usual one."""
    if comparison.metric in measured:
        return comparison.metric
    if comparison.metric_is_asked_for:
        raise InputError(
            f"{option('metric', comparison.metric)} was not measured; there are: "
            f"{', '.join(measured)}"
        )
    return measured[0]


def why_missing(setting: str, plan: Plan, measured: Measured) -> str | None:
    """Returns why a cell of a setting, by its name, is missing; None where none is."""
    for cell in plan.cells:
        if cell.method == setting and cell.name in measured.missing:
            return measured.missing[cell.name]
    return None


def comes_to(
    spec: str, rows: Sequence[dict[str, Any]], metric: str, by_score: bool, why: str | None
) -> Tried:
    """Returns what a setting comes to.

    Args:
        spec: The setting.
        rows: Its cells, one for each old encoder.
        metric: By which metric.
        by_score: Whether the ranking's score is defined in every cell.
        why: Why a cell is missing, if one is.
    """
    if why:
        return Tried(spec, None, None, None, why)
    means = {}
    for name in ("score", "gain", "tax"):
        means[name] = mean(row["metrics"][metric][name]["mean"] for row in rows)
    gain, tax = means["gain"], means["tax"]
    score = means["score"]
    if not by_score:
        score = None if gain is None or tax is None else gain - tax
    return Tried(spec, score, gain, tax)


def best_of(tried: Sequence[Tried]) -> Tried:
    """Returns the setting of the best score, and of the same score that of most gain less tax.

    That is where none is above the old encoder. The first one is kept where none could be measured.
    """
    best = tried[0]
    best_key = (float("-inf"), float("-inf"))
    for each in tried:
        if each.score is None or each.gain is None or each.tax is None:
            continue
        key = (each.score, each.gain - each.tax)
        if key > best_key:
            best, best_key = each, key
    return best
