"""A series of upgrades: queries of each encoder in its own gallery and in that of each older one."""

from typing import Any

from bct_keras.encoders import ENCODER_FILE, Encoder, FirstDims
from bct_keras.evaluation.compatibility import check_dims, verdict
from bct_keras.evaluation.gains import evidence, gains, sentence
from bct_keras.evaluation.measured import Measured, as_measured

Place = tuple[int, int]  # of the query's encoder and of the gallery's


def findings(protocol: Any, encoders: list[Encoder], first_gallery_only: bool) -> dict[str, Any]:
    """Triangular matrices of each metric, oldest first; the verdict is on all galleries or on the first alone."""
    measured = measure_all(protocol, encoders, first_gallery_only)
    upgrades = {place: upgrade(measured, place) for place in measured if place[0] > place[1]}
    metrics = list(measured[0, 0].metrics)
    result: dict[str, Any] = {
        "encoders": [encoder.spec.removesuffix(f"/{ENCODER_FILE}") for encoder in encoders],
        "matrix": {
            metric: triangle(len(encoders), {place: found.metrics[metric] for place, found in measured.items()}, 1)
            for metric in metrics
        },
        "upgrades": {
            key: {metric: triangle(len(encoders), values_of(upgrades, key, metric)) for metric in metrics}
            for key in next(iter(upgrades.values()))
        },
        # 2 / (T (T - 1)) * sum over i > j of [M(i, j) > M(j, j)]; the share of j = 0 where that gallery alone counts
        "average_compatibility": {
            metric: sum(found["compatible"][metric] for found in upgrades.values()) / len(upgrades)
            for metric in metrics
        },
    }
    for key in ("compatible", "shown"):
        if key in result["upgrades"]:
            result[key] = {metric: all(found[key][metric] for found in upgrades.values()) for metric in metrics}
    return result | {"notes": protocol.notes() if hasattr(protocol, "notes") else []}


def measure_all(protocol: Any, encoders: list[Encoder], first_gallery_only: bool) -> dict[Place, Measured]:
    """Only the galleries are held all the time; an encoder's queries are made for each and then dropped."""
    galleries, measured = [], {}
    for newer, encoder in enumerate(encoders):
        query, gallery = protocol.embed(encoder)
        galleries.append(gallery)
        measured[newer, newer] = as_measured(protocol.measure(query, gallery))
        for older in range(min(newer, 1) if first_gallery_only else newer):
            check_dims(encoders[older], encoder)
            dims = encoders[older].dims
            fitting = protocol.embed(FirstDims(encoder, dims))[0] if encoder.dims > dims else query
            measured[newer, older] = as_measured(protocol.measure(fitting, galleries[older]))
    return measured


def upgrade(measured: dict[Place, Measured], place: Place) -> dict[str, dict[str, Any]]:
    """`gain` and `compatible` of one upgrade, and its `interval` and `shown` where the protocol can draw anew."""
    before, after = measured[place[1], place[1]], measured[place]
    drawn = evidence(before, after)
    return gains(before, after) | {key: drawn[key] for key in ("interval", "shown") if key in drawn}


def values_of(upgrades: dict[Place, dict[str, dict[str, Any]]], key: str, metric: str) -> dict[Place, Any]:
    return {place: found[key][metric] for place, found in upgrades.items()}


def triangle(size: int, values: dict[Place, Any], diagonal: int = 0) -> list[list[Any]]:
    """A row for each query encoder, with an entry for each older gallery and, with `diagonal`, its own.

    None stands for what was not measured.
    """
    return [[values.get((newer, older)) for older in range(newer + diagonal)] for newer in range(size)]


def candidates(protocols: dict[str, dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """For each encoder but the first one its upgrades, each as the result of a protocol in one older gallery."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for spec, result in protocols.items():
        for newer, name in enumerate(result["encoders"][1:], 1):
            for older in range(newer):
                pair = upgrade_of(result, newer, older)
                if pair:
                    found.setdefault(name, {})[f"{spec} in the gallery of {result['encoders'][older]}"] = pair
    return found


def upgrade_of(result: dict[str, Any], newer: int, older: int) -> dict[str, dict[str, Any]]:
    """The tests of one upgrade and what follows from them, by metric; nothing where it was not measured."""
    places = {"old/old": (older, older), "new/old": (newer, older), "new/new": (newer, newer)}
    matrix, upgrades = result["matrix"], result["upgrades"]
    if any(rows[newer][older] is None for rows in matrix.values()):
        return {}
    tests = {
        test: {metric: rows[row][column] for metric, rows in matrix.items()} for test, (row, column) in places.items()
    }
    return tests | {
        key: {metric: rows[newer][older] for metric, rows in metrics.items()} for key, metrics in upgrades.items()
    }


def verdicts(protocols: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One verdict for each encoder but the first, as one of them may fit where another does not."""
    each = {
        name: {"verdict": verdict(upgrades), "shown": sentence(list(upgrades.values()))}
        for name, upgrades in candidates(protocols).items()
    }
    words = {name: str(found["verdict"]) for name, found in each.items()}
    whole = (
        "compatible" if set(words.values()) == {"compatible"} else "; ".join(": ".join(one) for one in words.items())
    )
    return {"verdict": whole, "shown": None, "verdicts": each}
