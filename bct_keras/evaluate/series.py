"""A series of upgrades: queries of each encoder in its own gallery and in that of each older
one.
"""

from collections.abc import Iterator
from typing import Any

from bct_keras.encoders import ENCODER_FILE, Encoder, FirstDims
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

    The verdict is on all galleries, or on the first alone.
    """
    protocol = adopted(protocol)
    measured = measure_all(protocol, encoders, first_gallery_only)
    upgrades = {place: upgrade(measured, place) for place in measured if place[0] > place[1]}
    common: dict[str, Any] = {}  # the same for all upgrades
    for found in upgrades.values():
        common |= {key: found.pop(key) for key in ("units", "unresolved") if key in found}
    metrics = list(measured[0, 0].metrics)
    result: dict[str, Any] = {
        "encoders": [encoder.spec.removesuffix(f"/{ENCODER_FILE}") for encoder in encoders],
        "matrix": {
            metric: triangle(
                len(encoders),
                {place: found.metrics[metric] for place, found in measured.items()},
                1,
            )
            for metric in metrics
        },
        "upgrades": {
            key: {
                metric: triangle(len(encoders), values_of(upgrades, key, metric))
                for metric in metrics
            }
            for key in next(iter(upgrades.values()))
        },
        # 2 / (T (T - 1)) * sum over i > j of [M(i, j) > M(j, j)]; the share of j = 0 where that
        # gallery alone counts
        "average_compatibility": {
            metric: sum(found["above_old"][metric] for found in upgrades.values()) / len(upgrades)
            for metric in metrics
        },
    }
    return result | common | {"notes": protocol.notes(encoders)}


def judge(protocols: dict[str, dict[str, Any]], rule: Rule) -> dict[str, Verdict]:
    """Writes the `word` of each upgrade's gains into the results, and returns the verdict on
    each candidate.

    A candidate is every encoder but the first; it is judged in all older galleries that its queries
    were searched in.
    """
    check_rule(rule, [metric for result in protocols.values() for metric in result["matrix"]])
    found: dict[str, dict[str, list[Gain]]] = {}
    for spec, result in protocols.items():
        size, metrics = len(result["encoders"]), list(result["matrix"])
        words: dict[str, dict[Place, str]] = {metric: {} for metric in metrics}
        for newer in range(1, size):
            for older in range(newer):
                gains = list(
                    gains_of_upgrade(result, (newer, older), spec if len(protocols) > 1 else "")
                )
                for metric, gain in zip(metrics, gains, strict=False):
                    words[metric][newer, older] = gain.word(rule.margin)
                if gains:
                    candidate = f"{newer + 1} {result['encoders'][newer]}"
                    found.setdefault(candidate, {})[f"{spec} {older}"] = gains
        result["upgrades"]["word"] = {metric: triangle(size, words[metric]) for metric in metrics}
    verdicts = {candidate: decide(gains, rule) for candidate, gains in found.items()}
    return {candidate: verdict for candidate, verdict in verdicts.items() if verdict}


def gains_of_upgrade(result: dict[str, Any], place: Place, protocol: str) -> Iterator[Gain]:
    """Returns one upgrade's gains; none where that encoder was not searched in that gallery."""
    newer, older = place
    several = (
        sum(cell is not None for cell in next(iter(result["matrix"].values()))[newer][:newer]) > 1
    )
    where = f"in {older + 1}'s gallery" if several else ""
    for metric, rows in result["matrix"].items():
        if rows[newer][older] is None:
            return
        name = " of ".join(part for part in (metric, protocol, where) if part)
        error = (
            result["upgrades"]["error"][metric][newer][older]
            if "error" in result["upgrades"]
            else None
        )
        resolved = metric not in result.get("unresolved", ())
        units = result.get("units", {}).get("count", 0)
        yield Gain(name, rows[older][older], rows[newer][older], error, units, resolved)


def measure_all(
    protocol: Protocol, encoders: list[Encoder], first_gallery_only: bool
) -> dict[Place, Measured]:
    """Measures every place; holds only the galleries all the time, and an encoder's queries
    while they are searched.
    """
    galleries, measured = [], {}
    for newer, encoder in enumerate(encoders):
        sides = protocol.embed(encoder)
        galleries.append(sides.gallery)
        measured[newer, newer] = as_measured(protocol.measure(sides.query, sides.gallery))
        for older in range(min(newer, 1) if first_gallery_only else newer):
            check_dims(encoders[older], encoder)
            dims = encoders[older].dims
            query = (
                protocol.embed(FirstDims(encoder, dims)).query
                if encoder.dims > dims
                else sides.query
            )
            measured[newer, older] = as_measured(protocol.measure(query, galleries[older]))
    return measured


def upgrade(measured: dict[Place, Measured], place: Place) -> dict[str, Any]:
    """Returns what is known of the gains of one upgrade."""
    before, after = measured[place[1], place[1]], measured[place]
    return gains(before, after) | evidence(before, after)


def values_of(
    upgrades: dict[Place, dict[str, dict[str, Any]]], key: str, metric: str
) -> dict[Place, Any]:
    """Returns one value of each upgrade, by one metric."""
    return {place: found[key][metric] for place, found in upgrades.items()}


def triangle(size: int, values: dict[Place, Any], diagonal: int = 0) -> list[list[Any]]:
    """Returns a row for each query encoder, with an entry for each older gallery.

    With `diagonal` it has one for its own gallery too. None stands for what was not measured.
    """
    return [
        [values.get((newer, older)) for older in range(newer + diagonal)] for newer in range(size)
    ]
