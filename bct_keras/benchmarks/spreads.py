"""Statistics of a benchmark: over seeds, between methods, and over all cells."""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from bct_keras.benchmarks import student
from bct_keras.evaluation.verdict import COMPATIBLE, NOT_COMPATIBLE, UNDECIDED

TESTS = {"self": "new/new", "cross": "new/old", "old": "old/old"}
# {(scenario, old encoder, method): {seed: what Measuring.measure found}}
Results = dict[tuple[str, str, str], dict[int, dict[str, Any]]]


def spread(values: Iterable[float | None]) -> dict[str, Any]:
    """Mean, and the sample standard deviation over seeds, which one seed does not have."""
    found = list(values)
    known = [value for value in found if value is not None]
    if not known or len(known) < len(found):
        return {"mean": None, "spread": None, "values": found}
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return {"mean": statistics.fmean(known), "spread": deviation, "values": known}


def quantities(
    found: dict[str, Any], free: dict[str, Any] | None, metric: str
) -> dict[str, float | None]:
    """Of one seed; `free` is the encoder trained without constraint, of the same scenario and seed."""
    values: dict[str, float | None] = {name: found[test][metric] for name, test in TESTS.items()}
    own, cross, old = (found[test][metric] for test in TESTS.values())
    values["gain"] = cross - old
    best = free["new/new"][metric] if free else None
    # Update gain (M(n,o) - M(o,o)) / (M(*,*) - M(o,o)); tax M(*,*) - M(n,n); kept M(n,n) / M(*,*).
    values["update_gain"] = (
        (cross - old) / (best - old) if best is not None and best > old else None
    )
    values["tax"] = best - own if best is not None else None
    values["kept"] = own / best if best else None
    values["score"] = harmonic_mean(values["update_gain"], values["kept"])
    return values


def harmonic_mean(first: float | None, second: float | None) -> float | None:
    """2 a b / (a + b), and 0 where one of them is not above 0"""
    if first is None or second is None:
        return None
    return 2 * first * second / (first + second) if first > 0 and second > 0 else 0.0


def cells(results: Results, reference: str) -> list[dict[str, Any]]:
    """A row for each scenario, old encoder and method, with what its seeds come to."""
    return [
        cell(key, by_seed, results.get((*key[:2], reference), {}))
        for key, by_seed in results.items()
        if by_seed
    ]


def cell(
    key: tuple[str, str, str], by_seed: dict[int, Any], free: dict[int, Any]
) -> dict[str, Any]:
    found = list(by_seed.values())
    metrics = list(found[0]["old/old"])
    rows = {
        metric: [quantities(each, free.get(seed), metric) for seed, each in by_seed.items()]
        for metric in metrics
    }
    row: dict[str, Any] = {
        **dict(zip(("scenario", "old", "method"), key, strict=True)),
        "seeds": list(by_seed),
        "metrics": {
            metric: {name: spread(each[name] for each in values) for name in values[0]}
            for metric, values in rows.items()
        },
        "verdicts": [each["verdict"] for each in found],
        # In how many seeds M(new, old) > M(old, old)
        "above_old": {
            metric: sum(each["above_old"][metric] for each in found) for metric in metrics
        },
        "seconds_per_step": spread(each["seconds_per_step"] for each in found),
        "cost": spread(ratio(each, free.get(seed)) for seed, each in by_seed.items()),
    }
    if all("flips" in each for each in found):
        row["flips"] = {
            kind: spread(each["flips"][kind] for each in found) for kind in ("negative", "positive")
        }
    return row


def ratio(found: dict[str, Any], free: dict[str, Any] | None) -> float | None:
    seconds = found["seconds_per_step"], free["seconds_per_step"] if free else None
    return seconds[0] / seconds[1] if seconds[0] and seconds[1] else None


def differences(results: Results, quantity: str) -> list[dict[str, Any]]:
    """Between each two methods in a cell: over the seeds that both have, as they share data and old encoder."""
    test = TESTS[quantity]
    found = []
    for first, second in itertools.combinations(results, 2):
        seeds = [seed for seed in results[first] if seed in results[second]]
        if first[:2] != second[:2] or not seeds:
            continue
        for metric in results[first][seeds[0]][test]:
            between = [
                results[first][seed][test][metric] - results[second][seed][test][metric]
                for seed in seeds
            ]
            names = {
                "scenario": first[0],
                "old": first[1],
                "method": first[2],
                "other": second[2],
                "metric": metric,
            }
            facts = {"interval": student.interval(between), "decided": student.decided(between)}
            found.append({**names, **spread(between), **facts})
    return found


def ranking(table: Sequence[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Methods by the harmonic mean of update gain and kept self-test, averaged over all cells; best first.

    One that is missing somewhere, or has no score there, has no rank, as its mean would be over other cells;
    `unranked` says why. `behind_first` is whether it is behind the first
    one by more than chance over the seeds.
    """
    places = {(row["scenario"], row["old"]) for row in table}
    seeds = max((len(row["seeds"]) for row in table), default=0)
    found = []
    for method in dict.fromkeys(row["method"] for row in table):
        rows = [row for row in table if row["method"] == method]
        why = unranked(rows, metric, len(places), seeds)
        scores = [] if why else [row["metrics"][metric]["score"]["values"] for row in rows]
        found.append(
            {
                "method": method,
                "unranked": why,
                # Of each seed over the cells, so that their spread is that of the mean.
                "score": spread(statistics.fmean(each) for each in zip(*scores, strict=True)),
                **{
                    name: mean_of(rows, metric, name)
                    for name in ("update_gain", "kept", "gain", "tax")
                },
                "verdicts": count_verdicts(verdict for row in rows for verdict in row["verdicts"]),
                "above_old": statistics.fmean(above / asked for above, asked in map(counted, rows)),
                "cells": len(rows),
                "cost": mean(row["cost"]["mean"] for row in rows),
            }
        )
    found = sorted(found, key=lambda row: -math.inf if row["unranked"] else row["score"]["mean"])[
        ::-1
    ]
    for row in found:
        both = (
            zip(found[0]["score"]["values"], row["score"]["values"], strict=True)
            if not row["unranked"]
            else ()
        )
        row["behind_first"] = student.decided([first - own for first, own in both])
    return found


def unranked(rows: Sequence[dict[str, Any]], metric: str, places: int, seeds: int) -> str | None:
    """Why a method with these rows has no score of its own in each place and seed; None where it has."""
    missing = places * seeds - sum(len(row["seeds"]) for row in rows)
    if missing:
        return f"{missing} of its {places * seeds} cells could not be measured"
    for row in rows:
        values = row["metrics"][metric]
        for seed, tax, gain in zip(
            row["seeds"], values["tax"]["values"], values["update_gain"]["values"], strict=True
        ):
            place = f"{row['scenario']}, old encoder {row['old']}, seed {seed}"
            if tax is None:
                return f"the network without constraint could not be measured ({place})"
            if gain is None:
                return f"the network without constraint is not above the old encoder by {metric} ({place})"
    return None


def mean_of(rows: Sequence[dict[str, Any]], metric: str, name: str) -> float | None:
    return mean(row["metrics"][metric][name]["mean"] for row in rows)


def mean(values: Iterable[float | None]) -> float | None:
    found = list(values)
    return (
        None
        if None in found or not found
        else statistics.fmean(value for value in found if value is not None)
    )


def counted(row: dict[str, Any]) -> tuple[int, int]:
    """Returns on how many metrics, seeds added up, it is above the old encoder, and how many there are."""
    return sum(row["above_old"].values()), len(row["above_old"]) * len(row["seeds"])


def count_verdicts(verdicts: Iterable[str | None]) -> dict[str, int]:
    """Returns how many of the trainings got each verdict, the best one first."""
    found = Counter(verdicts)
    return {word: found[word] for word in (COMPATIBLE, UNDECIDED, NOT_COMPATIBLE)}
