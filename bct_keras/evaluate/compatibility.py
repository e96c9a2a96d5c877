"""Makes the self-tests and the cross-test, and what follows from them.

A self-test searches an encoder's queries in its own gallery, and the cross-test those of the new
encoder in the old one's gallery.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from bct_keras import progress
from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.evaluate.protocol import Protocol, Sides, adopted
from bct_keras.metrics import baselines
from bct_keras.metrics.flips import flips
from bct_keras.metrics.gains import against_independent, curves, evidence, gains, thresholds
from bct_keras.metrics.measured import Measured, as_measured
from bct_keras.metrics.order import order_constraints
from bct_keras.metrics.refresh import hot_refresh, rank_merging
from bct_keras.metrics.verdict import Gain, Rule, Verdict, check_rule, decide, gains_of
from bct_keras.metrics.verification import Embedded

OLD_OLD, NEW_OLD, NEW_NEW = "old/old", "new/old", "new/new"  # query encoder / gallery encoder
TESTS = (OLD_OLD, NEW_OLD, NEW_NEW)
INDEPENDENT = "independent/independent"


@dataclass(frozen=True)
class Upgrade:
    """Holds queries and gallery by the old and by the new encoder, as far as they are known."""

    old: Sides | None = None
    new: Sides | None = None
    cross: Sides | None = None  # by the new encoder, in the old one's dimensions


@dataclass(frozen=True)
class Known:
    """Holds what need not be embedded and measured again."""

    old: Sides | None = None
    measured: dict[str, Measured] = field(default_factory=dict)


@dataclass
class Findings:
    """Holds what a report tells of one protocol.

    A part is empty where the protocol or the encoders do not allow it.
    """

    metrics: dict[str, dict[str, float]]  # of each test
    gains: dict[str, Any] = field(default_factory=dict)  # `gain` and `above_old`
    # `interval`, `error`, `units`, `unresolved`
    evidence: dict[str, Any] = field(default_factory=dict)
    # Its metrics, `update_gain` and `tax`
    independent: dict[str, Any] = field(default_factory=dict)
    flips: dict[str, Any] = field(default_factory=dict)
    hot_refresh: dict[str, Any] = field(default_factory=dict)
    order: dict[str, float] = field(default_factory=dict)
    baselines: dict[str, Any] = field(default_factory=dict)
    thresholds: dict[str, dict[str, float]] = field(default_factory=dict)  # of each test
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)  # of each test
    notes: list[str] = field(default_factory=list)

    def described(self) -> dict[str, Any]:
        """Returns the protocol's part of report.json, without what is empty."""
        found = self.metrics | self.gains
        parts = {
            **self.evidence,
            **self.independent,
            "flips": self.flips,
            "hot_refresh": self.hot_refresh,
            "order": self.order,
            "baselines": self.baselines,
            "thresholds": self.thresholds,
            "curves": self.curves,
            "notes": self.notes,
        }
        for name, part in parts.items():
            if part:
                found[name] = part
        return found


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
    upgrade = embed_upgrade(protocol, old, new, known.old)
    return summary(measure_tests(protocol, upgrade, known.measured))


def known_of_old(protocol: Protocol, old: Encoder | None) -> Known:
    """Returns what stays the same while new encoders are compared with this old one."""
    upgrade = embed_upgrade(protocol, old, None)
    measured = measure_tests(protocol, upgrade)
    return Known(upgrade.old, measured)


def findings(
    protocol: Protocol, old: Encoder | None, new: Encoder | None, independent: Encoder | None = None
) -> dict[str, Any]:
    """Returns the protocol's part of report.json.

    Args:
        protocol: How to measure.
        old: The old encoder; without it there is the new one's self-test alone.
        new: The new encoder; without it there is the old one's self-test alone.
        independent: The new network trained without constraint.
    """
    protocol = adopted(protocol)
    upgrade = embed_upgrade(protocol, old, new)
    free = protocol.embed(independent) if independent and upgrade.cross else None
    found = findings_of(protocol, upgrade, free)
    found.notes = protocol.notes([encoder for encoder in (old, new, independent) if encoder])
    return found.described()


def findings_of(protocol: Protocol, upgrade: Upgrade, free: Sides | None = None) -> Findings:
    """Returns the same from what is embedded, but for the notes on the encoders.

    Args:
        protocol: How to measure.
        upgrade: What the old and the new encoder give.
        free: What the new network gives when it is trained without constraint.
    """
    measured = measure_tests(protocol, upgrade)
    found = Findings({test: each.metrics for test, each in measured.items()})
    if upgrade.old and upgrade.cross:
        old, cross = measured[OLD_OLD], measured[NEW_OLD]
        found.gains = gains(old, cross)
        found.evidence = evidence(old, cross)
        if free:
            metrics = protocol.metrics(free.query, free.gallery)
            found.independent = {INDEPENDENT: metrics} | against_independent(found.metrics, metrics)
        if old.searches:
            found.flips = flips(old.searches, cross.searches, protocol.searched_names())
        if isinstance(upgrade.old.query, Embedded):
            found.hot_refresh = hot_refresh(
                protocol.metrics,
                query=upgrade.cross.query,
                old=upgrade.old.gallery,
                new=upgrade.cross.gallery,
                track=lambda shares: progress.track(
                    shares, "hot refresh", len(shares), "galleries"
                ),
            )
            found.baselines = without_training(protocol, upgrade.old, free or upgrade.cross)
            found.baselines = {"encoder": "independent" if free else "new"} | found.baselines
        if old.searches:
            found.order = order_of_searched(protocol, upgrade.old, upgrade.cross)
    for test, each in measured.items():
        if each.find_verification:
            pairs = each.find_verification()
            found.curves[test] = curves(pairs)
            cosines = thresholds(pairs, each.metrics)
            if cosines:
                found.thresholds[test] = cosines
    return found


def embed_upgrade(
    protocol: Protocol, old: Encoder | None, new: Encoder | None, known_old: Sides | None = None
) -> Upgrade:
    """Embeds queries and gallery by each encoder.

    By the new one they are embedded also so that they fit the old gallery.
    """
    check_dims(old, new)
    protocol = adopted(protocol)
    of_old = known_old or (protocol.embed(old) if old else None)
    of_new = protocol.embed(new) if new else None
    cross = of_new if old else None
    if old and new and new.compatible is not new:
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
    found: dict[str, list[Gain]] = {}
    for spec, result in protocols.items():
        name = spec if len(protocols) > 1 else ""
        gains_found = list(gains_of(result, name))
        found[spec] = gains_found
        if gains_found:
            words = [gain.word(rule.margin) for gain in gains_found]
            result["word"] = dict(zip(result["gain"], words, strict=True))
    check_rule(rule, measured_metrics(protocols.values()))
    return decide(found, rule)


def measured_metrics(results: Collection[dict[str, Any]]) -> list[str]:
    """Returns the metrics that a verdict can go by."""
    metrics = []
    for result in results:
        metrics.extend(result.get("gain", {}))
    return metrics
