"""Statistics of a benchmark: over seeds, between methods, and over all cells."""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from bct_keras.metrics import student
from bct_keras.metrics.verdict import COMPATIBLE, NOT_COMPATIBLE, UNDECIDED

TESTS = {"self": "new/new", "cross": "new/old", "old": "old/old"}
# {(scenario, old encoder, method): {seed: what Measuring.measure found}}
Results = dict[tuple[str, str, str], dict[int, dict[str, Any]]]


def spread(values: Iterable[float | None]) -> dict[str, Any]:
    """Returns the mean, and the sample standard deviation over seeds, which one seed does not
    have.
    """
    found = list(values)
    known = [value for value in found if value is not None]
    if not known or len(known) < len(found):
        return {"mean": None, "spread": None, "values": found}
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return {"mean": statistics.fmean(known), "spread": deviation, "values": known}


def quantities(
    found: dict[str, Any], free: dict[str, Any] | None, metric: str
) -> dict[str, float | None]:
    """Returns what one seed comes to.

    Args:
        found: What was measured of a new encoder.
        free: The same of the network without constraint, of the same scenario and seed.
        metric: By which metric M.
    """
    own, cross, old = (found[test][metric] for test in TESTS.values())
    values: dict[str, float | None] = {"self": own, "cross": cross, "old": old}
    values["gain"] = cross - old
    values |= {"update_gain": None, "tax": None, "kept": None}
    if free:
        best = free["new/new"][metric]
        # Update gain (M(n,o) - M(o,o)) / (M(*,*) - M(o,o)); tax M(*,*) - M(n,n);
        # kept M(n,n) / M(*,*).
        if best > old:
            values["update_gain"] = (cross - old) / (best - old)
        values["tax"] = best - own
        if best:
            values["kept"] = own / best
    values["score"] = harmonic_mean(values["update_gain"], values["kept"])
    return values


def harmonic_mean(first: float | None, second: float | None) -> float | None:
    """Returns 2 a b / (a + b), and 0 where one of them is not above 0."""
    if first is None or second is None:
        return None
    if first <= 0 or second <= 0:
        return 0.0
    return 2 * first * second / (first + second)


def cells(results: Results, reference: str) -> list[dict[str, Any]]:
    """Returns a row for each scenario, old encoder and method, with what its seeds come to."""
    rows = []
    for (scenario, old, method), by_seed in results.items():
        if by_seed:
            names = {"scenario": scenario, "old": old, "method": method}
            free = results.get((scenario, old, reference), {})
            rows.append(names | cell(by_seed, free))
    return rows


def cell(by_seed: dict[int, Any], free: dict[int, Any]) -> dict[str, Any]:
    """Returns what the seeds of one method come to at one place.

    Args:
        by_seed: What was measured, of each seed.
        free: The same of the network without constraint.
    """
    found = list(by_seed.values())
    metrics, above = {}, {}
    for metric in found[0]["old/old"]:
        rows = [quantities(each, free.get(seed), metric) for seed, each in by_seed.items()]
        metrics[metric] = {name: spread(row[name] for row in rows) for name in rows[0]}
        # In how many seeds M(new, old) > M(old, old)
        above[metric] = sum(each["above_old"][metric] for each in found)
    row: dict[str, Any] = {"seeds": list(by_seed), "metrics": metrics}
    row["verdicts"] = [each["verdict"] for each in found]
    row["above_old"] = above
    row["seconds_per_step"] = spread(each["seconds_per_step"] for each in found)
    row["cost"] = spread(ratio(each, free.get(seed)) for seed, each in by_seed.items())
    if all("flips" in each for each in found):
        row["flips"] = {}
        for kind in ("negative", "positive"):
            row["flips"][kind] = spread(each["flips"][kind] for each in found)
    return row


def ratio(found: dict[str, Any], free: dict[str, Any] | None) -> float | None:
    """Returns the time of a step against that of the network without constraint."""
    seconds = found["seconds_per_step"]
    free_seconds = free["seconds_per_step"] if free else None
    return seconds / free_seconds if seconds and free_seconds else None


def differences(results: Results, quantity: str) -> list[dict[str, Any]]:
    """Returns the difference of each two methods at a place, by each metric.

    It is over the seeds that both have, as they share data and old encoder.
    """
    test = TESTS[quantity]
    found = []
    for one, two in itertools.combinations(results, 2):
        (scenario, old, method), (*other_place, other) = one, two
        seeds = [seed for seed in results[one] if seed in results[two]]
        if [scenario, old] != other_place or not seeds:
            continue
        names = {"scenario": scenario, "old": old, "method": method, "other": other}
        for metric in results[one][seeds[0]][test]:
            between = []
            for seed in seeds:
                value = results[one][seed][test][metric]
                between.append(value - results[two][seed][test][metric])
            row: dict[str, Any] = names | {"metric": metric} | spread(between)
            row["interval"] = student.interval(between)
            row["decided"] = student.decided(between)
            found.append(row)
    return found


def ranking(table: Sequence[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Returns the methods, best first.

    They are ranked by the harmonic mean of update gain and kept self-test, averaged over all
    cells. One that is missing somewhere, or has no score there, has no rank, as its mean would be
    over other cells; `unranked` says why. `behind_first` is whether it is behind the first one by
    more than chance over the seeds.
    """
    places = {(row["scenario"], row["old"]) for row in table}
    seeds = max((len(row["seeds"]) for row in table), default=0)
    found = []
    for method in dict.fromkeys(row["method"] for row in table):
        rows = [row for row in table if row["method"] == method]
        why = unranked(rows, metric, len(places), seeds)
        found.append({"method": method, "unranked": why} | averages(rows, metric, bool(why)))
    found.sort(key=lambda row: -math.inf if row["unranked"] else row["score"]["mean"])
    found.reverse()
    for row in found:
        between = []
        if not row["unranked"]:
            scores = zip(found[0]["score"]["values"], row["score"]["values"], strict=True)
            between = [first - own for first, own in scores]
        row["behind_first"] = student.decided(between)
    return found


def averages(rows: Sequence[dict[str, Any]], metric: str, without_score: bool) -> dict[str, Any]:
    """Returns what one method comes to over all cells, of which each is a row."""
    scores = [] if without_score else [row["metrics"][metric]["score"]["values"] for row in rows]
    # Of each seed over the cells, so that their spread is that of the mean.
    by_seed = [statistics.fmean(each) for each in zip(*scores, strict=True)]
    found: dict[str, Any] = {"score": spread(by_seed)}
    for name in ("update_gain", "kept", "gain", "tax"):
        found[name] = mean(row["metrics"][metric][name]["mean"] for row in rows)
    found["verdicts"] = count_verdicts(verdict for row in rows for verdict in row["verdicts"])
    shares = []
    for row in rows:
        above, asked = counted(row)
        shares.append(above / asked)
    found["above_old"] = statistics.fmean(shares)
    found["cells"] = len(rows)
    found["cost"] = mean(row["cost"]["mean"] for row in rows)
    return found


def unranked(rows: Sequence[dict[str, Any]], metric: str, places: int, seeds: int) -> str | None:
    """Returns why a method has no score of its own in each place and seed; None where it has.

    Args:
        rows: The method's.
        metric: By which it is ranked.
        places: How many scenarios with an old encoder there are.
        seeds: How many seeds.
    """
    missing = places * seeds - sum(len(row["seeds"]) for row in rows)
    if missing:
        return f"{missing} of its {places * seeds} cells could not be measured"
    for row in rows:
        taxes = row["metrics"][metric]["tax"]["values"]
        gains = row["metrics"][metric]["update_gain"]["values"]
        for seed, tax, gain in zip(row["seeds"], taxes, gains, strict=True):
            place = f"{row['scenario']}, old encoder {row['old']}, seed {seed}"
            free = "the network without constraint"
            if tax is None:
                return f"{free} could not be measured ({place})"
            if gain is None:
                return f"{free} is not above the old encoder by {metric} ({place})"
    return None


def mean(values: Iterable[float | None]) -> float | None:
    """Returns the mean; None where a value is missing, or all are."""
    known = []
    for value in values:
        if value is None:
            return None
        known.append(value)
    return statistics.fmean(known) if known else None


def counted(row: dict[str, Any]) -> tuple[int, int]:
    """Returns on how many metrics a method is above the old encoder, and how many there are.

    Seeds are added up in both.
    """
    return sum(row["above_old"].values()), len(row["above_old"]) * len(row["seeds"])


def count_verdicts(verdicts: Iterable[str | None]) -> dict[str, int]:
    """Returns how many of the trainings got each verdict, the best one first."""
    found = Counter(verdicts)
    return {word: found[word] for word in (COMPATIBLE, UNDECIDED, NOT_COMPATIBLE)}
