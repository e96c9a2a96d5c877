"""Measures a series of upgrades.

Queries of each encoder are searched in its own gallery and in that of each older one.
"""

from collections.abc import Iterator
from typing import Any

from bct_keras.encoders import ENCODER_FILE, Encoder
from bct_keras.evaluate.compatibility import check_dims
from bct_keras.evaluate.protocol import Protocol, adopted
from bct_keras.metrics.gains import evidence, gains
from bct_keras.metrics.measured import Measured, as_measured
from bct_keras.metrics.verdict import Gain, Rule, Verdict, check_rule, decide

Place = tuple[int, int]  # of the query's encoder and of the gallery's


def findings(
    protocol: Protocol, encoders: list[Encoder], first_gallery_only: bool
) -> dict[str, Any]:
    """Returns the triangular matrices of each metric, oldest first.

    Args:
        protocol: How to measure.
        encoders: Two or more, oldest first.
        first_gallery_only: Whether the queries are searched in the oldest encoder's gallery alone,
            and not in all galleries.
    """
    protocol = adopted(protocol)
    size = len(encoders)
    measured = measure_all(protocol, encoders, first_gallery_only)
    upgrades = upgrades_of(measured)
    common: dict[str, Any] = {}  # the same for all upgrades
    for found in upgrades.values():
        for key in ("units", "unresolved"):
            if key in found:
                common[key] = found.pop(key)

    kinds = next(iter(upgrades.values()))  # gain, above_old, interval, ...
    matrix, average = {}, {}
    triangles: dict[str, dict[str, Any]] = {key: {} for key in kinds}
    for metric in measured[0, 0].metrics:
        values = {place: found.metrics[metric] for place, found in measured.items()}
        matrix[metric] = triangle(size, values, diagonal=1)
        for key in kinds:
            triangles[key][metric] = triangle(size, values_of(upgrades, key, metric))
        # 2 / (T (T - 1)) * sum over i > j of [M(i, j) > M(j, j)]; the share of j = 0 where that
        # gallery alone counts
        above = values_of(upgrades, "above_old", metric)
        average[metric] = sum(above.values()) / len(upgrades)
    result: dict[str, Any] = {
        "encoders": [encoder.spec.removesuffix(f"/{ENCODER_FILE}") for encoder in encoders],
        "matrix": matrix,
        "upgrades": triangles,
        "average_compatibility": average,
    }
    return result | common | {"notes": protocol.notes(encoders)}


def judge(protocols: dict[str, dict[str, Any]], rule: Rule) -> dict[str, Verdict]:
    """Returns the verdict on each candidate.

    A candidate is every encoder but the first; it is judged in all older galleries that its queries
    were searched in. Writes the `word` of each upgrade's gains into the results.

    Args:
        protocols: The result of each protocol, by its spec.
        rule: What the verdict goes by.
    """
    measured_metrics = []
    for result in protocols.values():
        measured_metrics.extend(result["matrix"])
    check_rule(rule, measured_metrics)
    found: dict[str, dict[str, list[Gain]]] = {}
    for spec, result in protocols.items():
        protocol = spec if len(protocols) > 1 else ""
        size = len(result["encoders"])
        words: dict[str, dict[Place, str]] = {metric: {} for metric in result["matrix"]}
        for newer in range(1, size):
            for older in range(newer):
                gains = list(gains_of_upgrade(result, (newer, older), protocol))
                for metric, gain in zip(words, gains, strict=False):
                    words[metric][newer, older] = gain.word(rule.margin)
                if gains:
                    candidate = f"{newer + 1} {result['encoders'][newer]}"
                    found.setdefault(candidate, {})[f"{spec} {older}"] = gains
        triangles = {}
        for metric, words_of_metric in words.items():
            triangles[metric] = triangle(size, words_of_metric)
        result["upgrades"]["word"] = triangles
    verdicts = {}
    for candidate, gains in found.items():
        verdict = decide(gains, rule)
        if verdict:
            verdicts[candidate] = verdict
    return verdicts


def gains_of_upgrade(result: dict[str, Any], place: Place, protocol: str) -> Iterator[Gain]:
    """Yields one upgrade's gains; none where that encoder was not searched in that gallery."""
    newer, older = place
    any_metric = next(iter(result["matrix"].values()))
    searched = [cell for cell in any_metric[newer][:newer] if cell is not None]
    where = f"in {older + 1}'s gallery" if len(searched) > 1 else ""
    errors = result["upgrades"].get("error")
    units = result.get("units", {}).get("count", 0)
    for metric, rows in result["matrix"].items():
        if rows[newer][older] is None:
            return
        parts = [part for part in (metric, protocol, where) if part]
        yield Gain(
            name=" of ".join(parts),
            old=rows[older][older],
            cross=rows[newer][older],
            error=errors[metric][newer][older] if errors else None,
            units=units,
            resolved=metric not in result.get("unresolved", ()),
        )


def measure_all(
    protocol: Protocol, encoders: list[Encoder], first_gallery_only: bool
) -> dict[Place, Measured]:
    """Measures every place.

    Only the galleries are held all the time, and an encoder's queries while they are searched.
    """
    galleries, measured = [], {}
    for newer, encoder in enumerate(encoders):
        sides = protocol.embed(encoder)
        galleries.append(sides.gallery)
        measured[newer, newer] = as_measured(protocol.measure(sides.query, sides.gallery))
        older_ones = min(newer, 1) if first_gallery_only else newer
        for older in range(older_ones):
            check_dims(encoders[older], encoder)
            query = sides.query
            if encoder.compatible is not encoder:
                query = protocol.embed(encoder.compatible).query
            measured[newer, older] = as_measured(protocol.measure(query, galleries[older]))
    return measured


def upgrades_of(measured: dict[Place, Measured]) -> dict[Place, dict[str, Any]]:
    """Returns what is known of the gains of each upgrade."""
    found = {}
    for newer, older in measured:
        if newer > older:
            before = measured[older, older]
            after = measured[newer, older]
            found[newer, older] = gains(before, after) | evidence(before, after)
    return found


def values_of(
    upgrades: dict[Place, dict[str, dict[str, Any]]], key: str, metric: str
) -> dict[Place, Any]:
    """Returns one value of each upgrade, by one metric."""
    values = {}
    for place, found in upgrades.items():
        values[place] = found[key][metric]
    return values


def triangle(size: int, values: dict[Place, Any], diagonal: int = 0) -> list[list[Any]]:
    """Returns a row for each query encoder, with an entry for each older gallery.

    With `diagonal` it has one for its own gallery too. None stands for what was not measured.
    """
    rows = []
    for newer in range(size):
        rows.append([values.get((newer, older)) for older in range(newer + diagonal)])
    return rows
