"""Measures the routes beside a new encoder that is compatible by itself.

An adapter brings its queries to the old gallery, or the old gallery to it, or its queries are fused
with those of the old encoder. Each route is compared with what the old encoder finds in its own
gallery, as the new encoder is, and has a verdict of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bct_keras.encoders import Encoder
from bct_keras.errors import InputError, option
from bct_keras.evaluate.findings import NEW_NEW, NEW_OLD, OLD_OLD, Upgrade
from bct_keras.evaluate.protocol import Protocol
from bct_keras.metrics.gains import evidence, gains, rates_of
from bct_keras.metrics.measured import Measured, as_measured
from bct_keras.metrics.merging import ByCosine, Merge, Parts, by_odds, by_rate, can_calibrate
from bct_keras.metrics.mixed import refresh_curves
from bct_keras.metrics.refresh import SHARES, farthest_first, random_order
from bct_keras.metrics.verdict import Gain, Rule, Verdict, chosen, decide, gains_of, metric_of
from bct_keras.metrics.verification import Sides

NEW, ADAPTED, FUSED, MOVED = "new", "adapted", "fused", "moved"
TEST_OF = {ADAPTED: "adapted/old", FUSED: "fused/old", MOVED: "new/moved"}
COSINE, ODDS, RATE = "cosine", "odds", "rate"
RANDOM, FARTHEST = "random", "farthest from class mean first"


@dataclass(frozen=True)
class Routes:
    """Holds the encoder of each route that is to be measured."""

    adapted: Encoder | None = None  # the new encoder behind an adapter, or one of two outputs
    fused: Encoder | None = None
    moved: Encoder | None = None  # the old encoder behind an adapter: the gallery it moves
    bare: bool = True  # whether new/old is measured too, without any route's help

    def given(self) -> dict[str, Encoder]:
        """Returns those that are there, by their names."""
        named = {ADAPTED: self.adapted, FUSED: self.fused, MOVED: self.moved}
        return {name: encoder for name, encoder in named.items() if encoder}

    def check(self, old: Encoder | None, new: Encoder | None) -> None:
        """Refuses routes without both encoders, or of other dimensions than what is searched."""
        for name, encoder in self.given().items():
            if not (old and new):
                raise InputError(
                    f"{option(name, encoder.spec)} needs {option('old')} and {option('new')} too"
                )
            dims, wanted, whose = encoder.compatible_dims, old.dims, f"{old.spec} has"
            if name == MOVED:
                dims, wanted, whose = encoder.dims, new.dims, f"queries of {new.spec} have"
            if dims != wanted:
                raise InputError(
                    f"{option(name, encoder.spec)} gives {dims} dimensions and {whose} {wanted}: "
                    "it cannot be measured"
                )

    def fingerprints(self, old: Encoder, new: Encoder) -> dict[str, dict[str, str]]:
        """Returns what each route searches with, and in the gallery of what."""
        found = {}
        for name, encoder in self.given().items():
            query, gallery = encoder, old
            if name == MOVED:
                query, gallery = new, encoder
            found[name] = {"query": query.fingerprint, "gallery": gallery.fingerprint}
        return found


def embed_routes(protocol: Protocol, routes: Routes, upgrade: Upgrade) -> dict[str, Sides]:
    """Returns what each route searches, and in what, by its name.

    Args:
        protocol: How to measure.
        routes: The encoders of the routes.
        upgrade: What the old and the new encoder give.
    """
    found = {}
    for name, encoder in routes.given().items():
        assert upgrade.old
        assert upgrade.new
        if name == MOVED:
            moved = protocol.embed(encoder).gallery
            found[name] = Sides(upgrade.new.query, moved)
        else:
            query = protocol.embed(encoder.compatible).query
            found[name] = Sides(query, upgrade.old.gallery)
    return found


def sides_of_tests(upgrade: Upgrade, routes: Mapping[str, Sides]) -> dict[str, Sides]:
    """Returns what each test searches, and in what."""
    found = {}
    if upgrade.old:
        found[OLD_OLD] = upgrade.old
    if upgrade.old and upgrade.cross:
        found[NEW_OLD] = Sides(upgrade.cross.query, upgrade.old.gallery)
    if upgrade.new:
        found[NEW_NEW] = upgrade.new
    for name, sides in routes.items():
        found[TEST_OF[name]] = sides
    return found


@dataclass(frozen=True)
class MeasuredRoute:
    """Holds what the queries of a route find, and how that compares with the old encoder's own."""

    measured: Measured
    # `gain`, `above_old`, `interval`, `error`, `units`, `unresolved`
    facts: dict[str, Any]

    def gains(self, old: Measured, protocol: str = "") -> list[Gain]:
        """Returns the gain of each metric, for a verdict."""
        tests = {"old/old": old.metrics, "new/old": self.measured.metrics}
        return list(gains_of(tests | self.facts, protocol))


def measure_route(protocol: Protocol, old: Measured, sides: Sides) -> MeasuredRoute:
    """Measures a route; `old` is what the old encoder's queries find in their own gallery."""
    return compared(old, as_measured(protocol.measure(sides.query, sides.gallery)))


def compared(old: Measured, measured: Measured) -> MeasuredRoute:
    """Returns what a route finds beside what the old encoder's queries find in their gallery."""
    facts = gains(old, measured) | evidence(old, measured)
    return MeasuredRoute(measured, facts)


def judge_routes(protocols: Mapping[str, dict[str, Any]], rule: Rule) -> dict[str, Verdict]:
    """Returns the verdict on each route.

    Writes the `word` of each gain into the protocols' results, and under `decided_by` the metrics
    that the verdict went by.

    Args:
        protocols: The result of each protocol, by its spec.
        rule: What the verdict goes by.
    """
    found: dict[str, dict[str, list[Gain]]] = {}
    for spec, result in protocols.items():
        protocol = spec if len(protocols) > 1 else ""
        for name, facts in result.get("routes", {}).items():
            tests = {"old/old": result["old/old"], "new/old": result[TEST_OF[name]]}
            gains_found = list(gains_of(tests | facts, protocol))
            words = [gain.word(rule.margin) for gain in gains_found]
            facts["word"] = dict(zip(facts["gain"], words, strict=True))
            facts["decided_by"] = [metric_of(gain.name) for gain in chosen(gains_found, rule)]
            found.setdefault(name, {})[spec] = gains_found
    verdicts = {}
    for name, of_protocols in found.items():
        verdict = decide(of_protocols, rule)
        if verdict:
            verdicts[name] = verdict
    return verdicts


@dataclass(frozen=True)
class MixedRoute:
    """Says how one route searches a gallery that is being re-embedded."""

    name: str
    parts: Parts
    one_space: bool  # so that cosines with old and with new entries can be compared as they are

    def merges(self) -> Iterator[tuple[str, Merge]]:
        """Yields what makes the scores of both parts comparable, by its name."""
        if self.one_space:
            yield COSINE, ByCosine(self.parts)
        if can_calibrate(self.parts.old) and can_calibrate(self.parts.new):
            yield ODDS, by_odds(self.parts)
            yield RATE, by_rate(self.parts)


def mixed_galleries(
    protocol: Protocol, upgrade: Upgrade, routes: Mapping[str, Sides], metrics: Mapping[str, float]
) -> dict[str, Any]:
    """Returns what each route finds while the gallery is re-embedded by the new encoder.

    Args:
        protocol: How to measure; it has to search by rank.
        upgrade: What the old and the new encoder give.
        routes: What each route searches, and in what.
        metrics: Those of the old encoder's self-test, which say at what rates.
    """
    old = protocol.searched(upgrade.old) if upgrade.old else None
    if not (old and upgrade.new and can_be_mixed(upgrade, routes)):
        return {}
    orders = {
        RANDOM: random_order(len(old.gallery.labels)),
        FARTHEST: farthest_first(old.gallery),
    }
    fars = list(rates_of(metrics).values())
    curves = []
    for route in mixed_routes(protocol.searched, upgrade, routes):
        for merged_by, merge in route.merges():
            of_orders = refresh_curves(merge, route.parts, orders, fars)
            for order, curve in of_orders.items():
                curves.append(
                    {"route": route.name, "merged_by": merged_by, "order": order, **curve}
                )
    return {"share": SHARES.tolist(), "curves": curves}


def can_be_mixed(upgrade: Upgrade, routes: Mapping[str, Sides]) -> bool:
    """Tells whether there is more than the one space of old and new that hot refresh measures."""
    return bool(routes) or (upgrade.cross is not None and upgrade.cross is not upgrade.new)


def mixed_routes(
    searched: Callable[[Sides], Sides | None], upgrade: Upgrade, routes: Mapping[str, Sides]
) -> Iterator[MixedRoute]:
    """Yields each route with what it finds in old and in new entries."""
    assert upgrade.old
    assert upgrade.new
    new = searched(upgrade.new)
    of_old_entries = dict(routes)
    if upgrade.cross:
        cross = Sides(upgrade.cross.query, upgrade.old.gallery)
        of_old_entries = {NEW: cross} | of_old_entries
    for name, sides in of_old_entries.items():
        old = searched(sides)
        if old and new:
            one_space = name == MOVED or (name == NEW and upgrade.cross is upgrade.new)
            yield MixedRoute(name, Parts(old, new), one_space)
