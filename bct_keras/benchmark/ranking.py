"""The ranking of a benchmark: what each method comes to over all cells."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bct_keras.benchmark.spreads import spread
from bct_keras.metrics import student
from bct_keras.metrics.verdict import COMPATIBLE, NOT_COMPATIBLE, UNDECIDED

TPIR = "TPIR@FPIR=1e-1"  # shown beside the metric of the ranking


def ranking(
    table: Sequence[dict[str, Any]], metric: str, needs: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Returns the methods, best first.

    They are ranked by the harmonic mean of update gain and kept self-test, averaged over all
    cells. One that is missing somewhere, or has no score there, has no rank, as its mean would be
    over other cells; `unranked` says why. `behind_first` is whether it is behind the first one by
    more than chance over the seeds, and `tied` has the places from which its own is not told apart.

    Args:
        table: What `spreads.cells` returns.
        metric: By which metric.
        needs: What each method needs, in words.
    """
    needs = needs or {}
    places = {(row["scenario"], row["old"]) for row in table}
    seeds = max((len(row["seeds"]) for row in table), default=0)
    by_method: dict[str, list[dict[str, Any]]] = {}
    for row in table:
        by_method.setdefault(row["method"], []).append(row)
    ranked = []
    for method, rows in by_method.items():
        why = unranked(rows, metric, len(places), seeds)
        found = {"method": method, "unranked": why, "needs": needs.get(method, "")}
        found |= averages(rows, metric, without_score=bool(why))
        ranked.append(found)
    ranked.sort(key=place_in_ranking)
    ranked.reverse()
    for row in ranked:
        row["behind_first"] = is_behind(row, ranked[0])
        row["tied"] = tied(row, ranked)
    return ranked


def tied(row: dict[str, Any], ranked: Sequence[dict[str, Any]]) -> list[int]:
    """Returns the places, from 1 on, of the others from which the seeds do not tell a method."""
    if row["unranked"]:
        return []
    places = []
    for place, other in enumerate(ranked, 1):
        if other is row or other["unranked"]:
            continue
        if not is_behind(row, other):
            places.append(place)
    return places


def groups(ranked: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    """Returns the first and the last place of each run in which no two are told apart.

    Runs may overlap: the third may be told apart neither from the first nor from the fifth, and
    those two be.
    """
    found: list[tuple[int, int]] = []
    for first, row in enumerate(ranked, 1):
        if row["unranked"]:
            break
        last = first
        while last + 1 <= len(ranked) and tied_to_all(ranked, first, last + 1):
            last += 1
        known = found and last <= found[-1][1]  # within the run before
        if last > first and not known:
            found.append((first, last))
    return found


def tied_to_all(ranked: Sequence[dict[str, Any]], first: int, place: int) -> bool:
    """Tells whether a place is told apart from none of those from `first` on and before it."""
    return set(range(first, place)) <= set(ranked[place - 1]["tied"])


def place_in_ranking(row: dict[str, Any]) -> float:
    """Returns the score of a method, and below all scores where it has no rank."""
    if row["unranked"]:
        return -math.inf
    return row["score"]["mean"]


def is_behind(row: dict[str, Any], first: dict[str, Any]) -> bool:
    """Tells whether the seeds decide between a method and another one, such as the first."""
    if row["unranked"]:
        return False
    between = []
    first_scores = first["score"]["values"]
    own_scores = row["score"]["values"]
    for first_score, own_score in zip(first_scores, own_scores, strict=True):
        between.append(first_score - own_score)
    return student.decided(between)


def averages(rows: Sequence[dict[str, Any]], metric: str, without_score: bool) -> dict[str, Any]:
    """Returns what one method comes to over all cells.

    Args:
        rows: The method's cells.
        metric: By which metric.
        without_score: Whether a score is missing in a cell, so that there is no mean of them.
    """
    scores = []
    if not without_score:
        scores = [row["metrics"][metric]["score"]["values"] for row in rows]
    # Of each seed over the cells, so that their spread is that of the mean.
    score_of_seeds = []
    for of_seed in zip(*scores, strict=True):
        score_of_seeds.append(statistics.fmean(of_seed))
    found: dict[str, Any] = {"score": spread(score_of_seeds)}
    for name in ("update_gain", "kept", "gain", "tax"):
        means = [row["metrics"][metric][name]["mean"] for row in rows]
        found[name] = mean(means)
    verdicts = []
    shares = []
    for row in rows:
        verdicts += row["verdicts"]
        above, asked = counted(row)
        shares.append(above / asked)
    found["verdicts"] = count_verdicts(verdicts)
    found["above_old"] = statistics.fmean(shares)
    found["cells"] = len(rows)
    found["tpir"] = None
    if TPIR in rows[0]["metrics"]:
        found["tpir"] = mean(row["metrics"][TPIR]["cross"]["mean"] for row in rows)
    found["hot_refresh"] = {}
    for name in rows[0].get("hot_refresh", {}):
        means = [row["hot_refresh"].get(name, {}).get("mean") for row in rows]
        found["hot_refresh"][name] = mean(means)
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
    above = row["above_old"]
    asked = len(above) * len(row["seeds"])
    return sum(above.values()), asked


def count_verdicts(verdicts: Iterable[str | None]) -> dict[str, int]:
    """Returns how many of the trainings got each verdict, the best one first."""
    found = Counter(verdicts)
    return {
        COMPATIBLE: found[COMPATIBLE],
        UNDECIDED: found[UNDECIDED],
        NOT_COMPATIBLE: found[NOT_COMPATIBLE],
    }
