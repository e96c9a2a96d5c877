"""The self-tests, the cross-test, and what follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from bct_keras.encoders import Encoder, FirstDims
from bct_keras.errors import InputError
from bct_keras.evaluation import baselines
from bct_keras.evaluation.flips import flips
from bct_keras.evaluation.gains import against_independent, curves, evidence, gains, thresholds
from bct_keras.evaluation.measured import Measured, as_measured
from bct_keras.evaluation.order import order_constraints
from bct_keras.evaluation.refresh import hot_refresh, rank_merging
from bct_keras.evaluation.verdict import Gain, Rule, Verdict, check_rule, decide, gains_of
from bct_keras.evaluation.verification import Embedded

TESTS = ("old/old", "new/old", "new/new")  # query encoder / gallery encoder


@dataclass(frozen=True)
class Known:
    """What need not be embedded and measured again."""

    sides: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Measured] = field(default_factory=dict)


def self_and_cross_tests(
    protocol: Any, old: Encoder | None, new: Encoder | None, known: Known | None = None
) -> dict[str, Any]:
    """The metrics of each test that the given encoders allow; `compatible` and `gain` where both are given."""
    known = known or Known()
    return summary(measure_tests(protocol, embed_sides(protocol, old, new, known.sides), known.measured))


def known_of_old(protocol: Any, old: Encoder | None) -> Known:
    sides = embed_sides(protocol, old, None)
    return Known(sides, measure_tests(protocol, sides))


def findings(
    protocol: Any, old: Encoder | None, new: Encoder | None, independent: Encoder | None = None
) -> dict[str, Any]:
    """The same, and everything else that a report tells."""
    sides = embed_sides(protocol, old, new)
    measured = measure_tests(protocol, sides)
    result = summary(measured)
    if "new/old" in measured:
        result |= evidence(measured["old/old"], measured["new/old"])
        if independent:
            result |= with_independent(protocol, result, independent)
        result |= found_out(protocol, measured, sides)
        if isinstance(sides["old"][0], Embedded):
            free = protocol.embed(independent) if independent else sides["cross"]
            result["baselines"] = without_training(protocol, sides, free, "independent" if independent else "new")
    found = {test: each.find_verification() for test, each in measured.items() if each.find_verification}
    cosines = {test: thresholds(pairs, measured[test].metrics) for test, pairs in found.items()}
    result["thresholds"] = {test: each for test, each in cosines.items() if each}
    result["curves"] = {test: curves(pairs) for test, pairs in found.items()}
    result["notes"] = protocol.notes() if hasattr(protocol, "notes") else []
    return {key: value for key, value in result.items() if value or key in TESTS}


def embed_sides(
    protocol: Any, old: Encoder | None, new: Encoder | None, known: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Queries and gallery of each encoder, and those of the new one that fit the old one's."""
    check_dims(old, new)
    given = {"old": old, "new": new}
    sides = dict(known) | {
        name: protocol.embed(encoder) for name, encoder in given.items() if encoder and name not in known
    }
    if old and new:
        # A wider encoder's own gallery may hold all of its coordinates; the old one is searched with the first.
        sides["cross"] = protocol.embed(FirstDims(new, old.dims)) if new.dims > old.dims else sides["new"]
    return sides


def measure_tests(
    protocol: Any, sides: dict[str, Any], known: Mapping[str, Measured] = MappingProxyType({})
) -> dict[str, Measured]:
    """Those that the sides allow; what is known of one is not measured again."""
    places = {"old/old": ("old", "old"), "new/old": ("cross", "old"), "new/new": ("new", "new")}
    return {
        test: known[test] if test in known else as_measured(protocol.measure(sides[query][0], sides[gallery][1]))
        for test, (query, gallery) in places.items()
        if query in sides and gallery in sides
    }


def summary(measured: dict[str, Measured]) -> dict[str, Any]:
    result: dict[str, Any] = {test: found.metrics for test, found in measured.items()}
    return result | gains(measured["old/old"], measured["new/old"]) if "new/old" in measured else result


def check_dims(old: Encoder | None, new: Encoder | None) -> None:
    if old and new and old.dims != new.compatible_dims:
        raise InputError(
            f"{new.path} has {new.compatible_dims} compatible dimensions and {old.path} {old.dims}: its queries "
            "cannot be searched there"
        )


def with_independent(protocol: Any, result: dict[str, Any], independent: Encoder) -> dict[str, Any]:
    query, gallery = protocol.embed(independent)
    found = as_measured(protocol.measure(query, gallery)).metrics
    return {"independent/independent": found} | against_independent(result, found)


def found_out(protocol: Any, measured: dict[str, Measured], sides: dict[str, Any]) -> dict[str, Any]:
    """Flips, hot refresh and order constraints, as far as the protocol allows."""
    result: dict[str, Any] = {}
    old, cross = measured["old/old"], measured["new/old"]
    if old.searches:
        result["flips"] = flips(old, cross, protocol.searched_names())
    if isinstance(sides["old"][0], Embedded):
        query, gallery = sides["cross"][0], sides["cross"][1]
        result["hot_refresh"] = hot_refresh(metrics_of(protocol), query, sides["old"][1], gallery)
    if old.searches:
        query, new_gallery = protocol.gallery_of(*sides["cross"])
        _, old_gallery = protocol.gallery_of(*sides["old"])
        result["order"] = order_constraints(query, new_gallery, old_gallery)
    return result


def metrics_of(protocol: Any):
    return lambda query, gallery: as_measured(protocol.measure(query, gallery)).metrics


def without_training(protocol: Any, sides: dict[str, Any], free: Any, name: str) -> dict[str, Any]:
    """The baselines of an encoder (`free`: its queries and gallery) that was not trained to be compatible."""
    query, gallery = free
    old_query, old_gallery = sides["old"]
    rotation = baselines.procrustes_map(gallery.embeddings, old_gallery.embeddings)
    found = {
        "encoder": name,
        "procrustes": metrics_of(protocol)(baselines.mapped(query, rotation), old_gallery),
    }
    if hasattr(protocol, "gallery_of"):
        old_query, old_gallery = protocol.gallery_of(old_query, old_gallery)
        query, gallery = protocol.gallery_of(query, gallery)
        found["rank_merging"] = rank_merging((old_query, query), (old_gallery, gallery))
    return found


def judge(protocols: dict[str, dict[str, Any]], rule: Rule) -> Verdict | None:
    """Writes the `word` of each gain into its protocol's result; returns the verdict, None without a cross-test."""
    found: dict[str, list[Gain]] = {}
    for spec, result in protocols.items():
        found[spec] = list(gains_of(result, spec if len(protocols) > 1 else ""))
        if found[spec]:
            words = [gain.word(rule.margin) for gain in found[spec]]
            result["word"] = dict(zip(result["gain"], words, strict=True))
    check_rule(rule, [metric for result in protocols.values() for metric in result.get("gain", {})])
    return decide(found, rule)
