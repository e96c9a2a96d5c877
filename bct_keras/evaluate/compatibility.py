"""Makes the self-tests and the cross-test, and what follows from them.

A self-test searches an encoder's queries in its own gallery, and the cross-test those of the new
encoder in the old one's gallery.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.evaluate.findings import NEW_NEW, NEW_OLD, OLD_OLD, Findings, Upgrade
from bct_keras.evaluate.groups import GroupFile, by_group, group_notes
from bct_keras.evaluate.protocol import Protocol, Sides, adopted
from bct_keras.evaluate.retrieval import Divided
from bct_keras.evaluate.routes import (
    TEST_OF,
    Routes,
    embed_routes,
    measure_route,
    mixed_galleries,
    sides_of_tests,
)
from bct_keras.metrics import baselines
from bct_keras.metrics.flips import flips
from bct_keras.metrics.gains import against_independent, evidence, gains
from bct_keras.metrics.measured import Measured, as_measured
from bct_keras.metrics.order import order_constraints
from bct_keras.metrics.refresh import rank_merging
from bct_keras.metrics.verdict import Gain, Rule, Verdict, check_rule, decide, gains_of
from bct_keras.metrics.verification import Embedded

TESTS = (OLD_OLD, NEW_OLD, NEW_NEW)
INDEPENDENT = "independent/independent"


@dataclass(frozen=True)
class Known:
    """Holds what need not be embedded and measured again."""

    old: Sides | None = None
    measured: dict[str, Measured] = field(default_factory=dict)


def self_and_cross_tests(
    protocol: Protocol, old: Encoder | None, new: Encoder | None, known: Known | None = None
) -> dict[str, Any]:
    """Returns the metrics of each test that the encoders allow.

    Where both encoders are given, `gain` and `above_old` are among them.

    Args:
        protocol: How to measure.
        old: The old encoder, if there is one.
        new: The new encoder, if there is one.
        known: What is known already of the old one.
    """
    known = known or Known()
    protocol = adopted(protocol)
    upgrade = embed_upgrade(protocol, old, new, known.old)
    protocol = protocol.against(upgrade.new)
    return summary(measure_tests(protocol, upgrade, known.measured))


def known_of_old(protocol: Protocol, old: Encoder | None) -> Known:
    """Returns what stays the same while new encoders are compared with this old one."""
    upgrade = embed_upgrade(protocol, old, None)
    measured = measure_tests(protocol, upgrade)
    return Known(upgrade.old, measured)


def findings(
    protocol: Protocol,
    old: Encoder | None,
    new: Encoder | None,
    independent: Encoder | None = None,
    routes: Routes | None = None,
    groups: GroupFile | None = None,
) -> dict[str, Any]:
    """Returns the protocol's part of report.json.

    Args:
        protocol: How to measure.
        old: The old encoder; without it there is the new one's self-test alone.
        new: The new encoder; without it there is the old one's self-test alone.
        independent: The new network trained without constraint.
        routes: Other ways to search the old gallery; they need both encoders.
        groups: Which group each image or identity is of; the protocol has to know their names.
    """
    routes = routes or Routes()
    others = routes.given()
    protocol = adopted(protocol)
    upgrade = embed_upgrade(protocol, old, new, may_differ=bool(others))
    if not routes.bare:
        upgrade = replace(upgrade, cross=None)
    protocol = protocol.against(upgrade.new)
    searched = embed_routes(protocol, routes, upgrade)
    free = protocol.embed(independent) if independent and upgrade.cross else None
    found = findings_of(protocol, upgrade, free, searched)
    encoders = [encoder for encoder in (old, new, independent) if encoder]
    if old and new and old.dims != new.compatible_dims:
        found.notes.append(
            f"{NEW_OLD} is not measured: {new.spec} has {new.compatible_dims} compatible "
            f"dimensions and {old.spec} {old.dims}"
        )
    if groups:
        assert isinstance(protocol, Divided)  # others are refused before
        sides = sides_of_tests(upgrade, searched)
        side_groups = protocol.side_groups(groups)
        found.groups = by_group(side_groups, sides, found.thresholds)
        found.notes += side_groups.notes(groups) + group_notes(found.groups)
    found.notes += protocol.notes(encoders + list(others.values()))
    return found.described()


def findings_of(
    protocol: Protocol,
    upgrade: Upgrade,
    free: Sides | None = None,
    routes: Mapping[str, Sides] | None = None,
) -> Findings:
    """Returns the same from what is embedded, but for the notes on the encoders.

    Args:
        protocol: How to measure.
        upgrade: What the old and the new encoder give.
        free: What the new network gives when it is trained without constraint.
        routes: What each other route searches, and in what.
    """
    routes = routes or {}
    measured = measure_tests(protocol, upgrade)
    found = Findings({})
    if upgrade.old and upgrade.cross:
        compare_with_old(found, protocol, upgrade, free, measured)
    for name, sides in routes.items():
        route = measure_route(protocol, measured[OLD_OLD], sides)
        measured[TEST_OF[name]] = route.measured
        found.routes[name] = route.facts
    found.metrics = {test: each.metrics for test, each in measured.items()}
    if OLD_OLD in measured:
        old_metrics = measured[OLD_OLD].metrics
        found.mixed = mixed_galleries(protocol, upgrade, routes, old_metrics)
    found.add_scores(measured)
    return found


def compare_with_old(
    found: Findings,
    protocol: Protocol,
    upgrade: Upgrade,
    free: Sides | None,
    measured: Mapping[str, Measured],
) -> None:
    """Adds what the cross-test is beside the old encoder's self-test."""
    assert upgrade.old
    assert upgrade.cross
    old, cross = measured[OLD_OLD], measured[NEW_OLD]
    found.gains = gains(old, cross)
    found.evidence = evidence(old, cross)
    if free:
        metrics = protocol.metrics(free.query, free.gallery)
        tests = {test: each.metrics for test, each in measured.items()}
        found.independent = {INDEPENDENT: metrics} | against_independent(tests, metrics)
    if old.searches:
        found.flips = flips(old.searches, cross.searches, protocol.searched_names())
        found.order = order_of_searched(protocol, upgrade.old, upgrade.cross)
    if isinstance(upgrade.old.query, Embedded):
        found.hot_refresh = protocol.refreshed(
            query=upgrade.cross.query, old=upgrade.old.gallery, new=upgrade.cross.gallery
        )
        found.baselines = without_training(protocol, upgrade.old, free or upgrade.cross)
        found.baselines = {"encoder": "independent" if free else "new"} | found.baselines


def embed_upgrade(
    protocol: Protocol,
    old: Encoder | None,
    new: Encoder | None,
    known_old: Sides | None = None,
    may_differ: bool = False,
) -> Upgrade:
    """Embeds queries and gallery by each encoder.

    By the new one they are embedded also so that they fit the old gallery. Where the two have other
    dimensions, that is an error, or no cross-test if they `may_differ`.
    """
    if not may_differ:
        check_dims(old, new)
    protocol = adopted(protocol)
    of_old = known_old or (protocol.embed(old) if old else None)
    of_new = protocol.embed(new) if new else None
    cross = None
    if old and new and new.compatible_dims == old.dims:
        cross = of_new
    if cross and new and new.compatible is not new:
        cross = protocol.embed(new.compatible)
    return Upgrade(of_old, of_new, cross)


def measure_tests(
    protocol: Protocol, upgrade: Upgrade, known: dict[str, Measured] | None = None
) -> dict[str, Measured]:
    """Measures those tests that the sides allow.

    Args:
        protocol: How to measure.
        upgrade: What is embedded.
        known: What a test has found already, by its name; it is not measured again.
    """
    searched = {
        OLD_OLD: (upgrade.old, upgrade.old),
        NEW_OLD: (upgrade.cross, upgrade.old),
        NEW_NEW: (upgrade.new, upgrade.new),
    }
    measured = {}
    for test, (queries, galleries) in searched.items():
        if known and test in known:
            measured[test] = known[test]
        elif queries and galleries:
            measured[test] = as_measured(protocol.measure(queries.query, galleries.gallery))
    return measured


def summary(measured: dict[str, Measured]) -> dict[str, Any]:
    """Returns the metrics of each test, and the gains where there is a cross-test."""
    result: dict[str, Any] = {}
    for test, found in measured.items():
        result[test] = found.metrics
    if NEW_OLD in measured:
        result |= gains(measured[OLD_OLD], measured[NEW_OLD])
    return result


def check_dims(old: Encoder | None, new: Encoder | None) -> None:
    """Refuses a new encoder whose queries have other dimensions than the old gallery."""
    if old and new and old.dims != new.compatible_dims:
        raise InputError(
            f"{new.path} has {new.compatible_dims} compatible dimensions and {old.path} "
            f"{old.dims}: its queries cannot be searched there"
        )


def order_of_searched(protocol: Protocol, old: Sides, cross: Sides) -> dict[str, float]:
    """Returns the order constraints, where the protocol searches by rank."""
    of_old = protocol.searched(old)
    of_cross = protocol.searched(cross)
    if not (of_old and of_cross):
        return {}
    return order_constraints(of_cross.query, of_cross.gallery, of_old.gallery)


def without_training(protocol: Protocol, old: Sides, free: Sides) -> dict[str, Any]:
    """Returns what an encoder reaches that was not trained to be compatible.

    Args:
        protocol: How to measure.
        old: Queries and gallery by the old encoder.
        free: The same images by that encoder.
    """
    rotation = baselines.procrustes_map(free.gallery.embeddings, old.gallery.embeddings)
    mapped = baselines.mapped(free.query, rotation)
    found: dict[str, Any] = {"procrustes": protocol.metrics(mapped, old.gallery)}
    searched_old = protocol.searched(old)
    searched_free = protocol.searched(free)
    if searched_old and searched_free:
        found["rank_merging"] = rank_merging(searched_old, searched_free)
    return found


def judge(protocols: dict[str, dict[str, Any]], rule: Rule) -> Verdict | None:
    """Returns the verdict, or None without a cross-test.

    Writes the `word` of each gain into its protocol's result.

    Args:
        protocols: The result of each protocol, by its spec.
        rule: What the verdict goes by.
    """
    check_rule(rule, measured_metrics(protocols.values()))
    found: dict[str, list[Gain]] = {}
    for spec, result in protocols.items():
        name = spec if len(protocols) > 1 else ""
        gains_found = list(gains_of(result, name))
        found[spec] = gains_found
        if gains_found:
            words = [gain.word(rule.margin) for gain in gains_found]
            result["word"] = dict(zip(result["gain"], words, strict=True))
    return decide(found, rule)


def measured_metrics(results: Collection[dict[str, Any]]) -> list[str]:
    """Returns the metrics that a verdict can go by."""
    metrics = []
    for result in results:
        metrics.extend(result.get("gain", {}))
        for facts in result.get("routes", {}).values():
            metrics.extend(facts["gain"])
    return metrics
