"""Statistics of a benchmark: over seeds, and between methods at one place."""

import itertools
import statistics
from collections.abc import Iterable
from typing import Any

from bct_keras.metrics import student

TESTS = {"self": "new/new", "cross": "new/old", "old": "old/old"}
# {(scenario, old encoder, method): {seed: what Measuring.measure found}}
Results = dict[tuple[str, str, str], dict[int, dict[str, Any]]]


def spread(values: Iterable[float | None]) -> dict[str, Any]:
    """Returns the mean over seeds, and the sample standard deviation, which one seed has not.

    Args:
        values: One for each seed. Where one is None, so are mean and deviation.
    """
    found = list(values)
    known = []
    for value in found:
        if value is not None:
            known.append(value)
    if not known or len(known) < len(found):
        return {"mean": None, "spread": None, "values": found}
    mean = statistics.fmean(known)
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return {"mean": mean, "spread": deviation, "values": known}


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
    """Returns 2 a b / (a + b), and 0 where one of them is not above 0.

    Returns None where one of them is not known.
    """
    if first is None or second is None:
        return None
    if first <= 0 or second <= 0:
        return 0.0
    return 2 * first * second / (first + second)


def cells(results: Results, reference: str) -> list[dict[str, Any]]:
    """Returns a row for each scenario, old encoder and method, with what its seeds come to.

    Args:
        results: What was measured of every cell.
        reference: The method without constraint.
    """
    rows = []
    for place, by_seed in results.items():
        if not by_seed:
            continue
        scenario, old, method = place
        free = results.get((scenario, old, reference), {})
        row = {"scenario": scenario, "old": old, "method": method}
        row |= cell(by_seed, free)
        rows.append(row)
    return rows


def cell(by_seed: dict[int, Any], free: dict[int, Any]) -> dict[str, Any]:
    """Returns what the seeds of one method come to at one place.

    Args:
        by_seed: What was measured, of each seed.
        free: The same of the network without constraint.
    """
    found = list(by_seed.values())
    metrics = {}
    above = {}
    for metric in found[0]["old/old"]:
        metrics[metric] = over_seeds(by_seed, free, metric)
        # In how many seeds M(new, old) > M(old, old)
        above[metric] = sum(each["above_old"][metric] for each in found)
    costs = []
    for seed, each in by_seed.items():
        costs.append(ratio(each, free.get(seed)))
    row = {
        "seeds": list(by_seed),
        "metrics": metrics,
        "verdicts": [each["verdict"] for each in found],
        "above_old": above,
        "seconds_per_step": spread(each["seconds_per_step"] for each in found),
        "cost": spread(costs),
    }
    areas = [each.get("hot_refresh") or {} for each in found]
    row["hot_refresh"] = {}
    for metric in areas[0]:
        row["hot_refresh"][metric] = spread(area.get(metric) for area in areas)
    if all("flips" in each for each in found):
        row["flips"] = {
            "negative": spread(each["flips"]["negative"] for each in found),
            "positive": spread(each["flips"]["positive"] for each in found),
        }
    return row


def over_seeds(by_seed: dict[int, Any], free: dict[int, Any], metric: str) -> dict[str, Any]:
    """Returns the spread of each quantity over the seeds.

    Args:
        by_seed: What was measured, of each seed.
        free: The same of the network without constraint.
        metric: By which metric.
    """
    rows = []
    for seed, each in by_seed.items():
        row = quantities(each, free.get(seed), metric)
        rows.append(row)
    spreads = {}
    for name in rows[0]:
        spreads[name] = spread(row[name] for row in rows)
    return spreads


def ratio(found: dict[str, Any], free: dict[str, Any] | None) -> float | None:
    """Returns the time of a step against that of the network without constraint.

    Args:
        found: What was measured of a new encoder.
        free: The same of the network without constraint, if it is known.
    """
    if free is None:
        return None
    seconds = found["seconds_per_step"]
    free_seconds = free["seconds_per_step"]
    if not seconds or not free_seconds:
        return None
    return seconds / free_seconds


def differences(results: Results, quantity: str) -> list[dict[str, Any]]:
    """Returns the difference of each two methods at a place, by each metric.

    It is over the seeds that both have, as they share data and old encoder.

    Args:
        results: What was measured of every cell.
        quantity: What is compared: self, cross or old.
    """
    test = TESTS[quantity]
    found = []
    for one, two in itertools.combinations(results, 2):
        scenario, old, method = one
        other_scenario, other_old, other = two
        seeds = [seed for seed in results[one] if seed in results[two]]
        if (scenario, old) != (other_scenario, other_old) or not seeds:
            continue
        for metric in results[one][seeds[0]][test]:
            between = []
            for seed in seeds:
                value = results[one][seed][test][metric]
                other_value = results[two][seed][test][metric]
                between.append(value - other_value)
            row: dict[str, Any] = {
                "scenario": scenario,
                "old": old,
                "method": method,
                "other": other,
                "metric": metric,
            }
            row |= spread(between)
            row["interval"] = student.interval(between)
            row["decided"] = student.decided(between)
            found.append(row)
    return found
