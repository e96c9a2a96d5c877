"""Measures every route by every protocol, and how far any two of them differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from bct_keras.advise.candidates import KEEP, Route
from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.evaluate.protocol import Protocol
from bct_keras.evaluate.routes import compared
from bct_keras.metrics import influence
from bct_keras.metrics.influence import Influence
from bct_keras.metrics.measured import Measured, as_measured
from bct_keras.metrics.verdict import Gain, Rule, Verdict, check_rule, chosen, decide
from bct_keras.metrics.verification import Sides

ByProtocol = Mapping[str, Measured]


@dataclass(frozen=True)
class Found:
    """Holds what one route comes to.

    Attributes:
        route: The route.
        verdict: As `evaluate` gives it; None for the old encoder itself.
        measured: By each protocol's spec.
        facts: Likewise: `gain`, `interval`, `error`, `units`, `word`.
        deciding: The gains of the metrics that decide.
        gain: Their mean.
        alone: The same of its own encoder in a gallery of its own.
        tax: How much of that its own encoder has lost against the new one.
    """

    route: Route
    verdict: Verdict | None
    measured: ByProtocol
    facts: Mapping[str, dict[str, Any]]
    deciding: Sequence[Gain]
    gain: Gain
    alone: Gain
    tax: Gain


class Measuring:
    """Measures routes; embeds and searches nothing twice.

    Args:
        protocols: How to measure, by their specs.
        old: The old encoder.
        new: The new one, without constraint.
        rule: What a verdict goes by.
    """

    def __init__(self, protocols: Mapping[str, Protocol], old: Encoder, new: Encoder, rule: Rule):
        self.protocols = protocols
        self.old = old
        self.new = new
        self.rule = rule
        self.embedded: dict[tuple[str, int], Sides] = {}
        self.searched: dict[tuple[int, int], ByProtocol] = {}
        self.check_labels()
        self.before = self.measured(old, old)
        check_rule(rule, [metric for each in self.before.values() for metric in each.metrics])
        self.deciders: dict[str, list[str]] = {}  # metrics that decide, by protocol
        for spec, measured in self.before.items():
            gains = compared(measured, measured).gains(measured)
            self.deciders[spec] = [gain.name for gain in chosen(gains, rule)]

    def check_labels(self) -> None:
        """Refuses items without labels: they do not tell whether the new encoder is any better."""
        for spec, protocol in self.protocols.items():
            if protocol.against(self.sides(spec, self.new)) is not protocol:
                raise InputError(
                    f"{spec} has no labels: that tells how much of an upgrade a route keeps, and"
                    " not whether the new encoder is any better",
                    "give `labels` [n] beside the ids",
                )

    def found(self, route: Route) -> Found:
        """Returns what a route comes to, beside what the old encoder finds in its own gallery."""
        measured = self.measured(route.queries, route.gallery)
        own = self.measured(route.own, route.own)
        free = self.measured(self.new, self.new)
        facts, gains = {}, {}
        for spec, before in self.before.items():
            protocol = spec if len(self.protocols) > 1 else ""
            one = compared(before, measured[spec])
            gains[spec] = one.gains(before, protocol)
            words = [gain.word(self.rule.margin) for gain in gains[spec]]
            facts[spec] = one.facts | {"word": dict(zip(before.metrics, words, strict=True))}
        return Found(
            route=route,
            verdict=None if route.kind == KEEP else decide(gains, self.rule),
            measured=measured,
            facts=facts,
            deciding=[gain for each in gains.values() for gain in chosen(each, self.rule)],
            gain=self.mean_gain(self.before, measured),
            alone=self.mean_gain(self.before, own),
            tax=self.mean_gain(own, free),
        )

    def difference(self, first: Found, second: Found) -> Gain:
        """Returns how much more the second route gains, on the same identities."""
        return self.mean_gain(first.measured, second.measured)

    def mean_gain(self, before: ByProtocol, after: ByProtocol) -> Gain:
        """Returns the gain of the mean of the metrics that decide, over all protocols."""
        olds, news, errors, units = [], [], [], []
        for spec, metrics in self.deciders.items():
            olds.append(mean_of(before[spec], metrics))
            news.append(mean_of(after[spec], metrics))
            moved = influence_on_mean(before[spec], after[spec], metrics)
            if moved is not None:
                errors.append(moved.standard_error())
                units.append(len(moved.own))
        known = len(errors) == len(olds)
        # Identities of two protocols have nothing to do with each other.
        error = float(np.linalg.norm(errors)) / len(olds) if known else None
        return Gain(
            name="mean",
            old=float(np.mean(olds)),
            cross=float(np.mean(news)),
            error=error,
            units=min(units, default=0),
        )

    def measured(self, queries: Encoder, gallery: Encoder) -> ByProtocol:
        """Returns what the queries of one encoder find in the gallery of another."""
        key = id(queries), id(gallery)
        if key not in self.searched:
            found = {}
            for spec, protocol in self.protocols.items():
                query = self.sides(spec, queries).query
                entries = self.sides(spec, gallery).gallery
                found[spec] = remembered(as_measured(protocol.measure(query, entries)))
            self.searched[key] = found
        return self.searched[key]

    def sides(self, spec: str, encoder: Encoder) -> Sides:
        """Returns queries and gallery of a protocol, by an encoder."""
        key = spec, id(encoder)
        if key not in self.embedded:
            self.embedded[key] = self.protocols[spec].embed(encoder)
        return self.embedded[key]


def remembered(measured: Measured) -> Measured:
    """Returns the same; how each identity moves the metrics is computed once."""
    if measured.influences is None:
        return measured
    return replace(measured, influences=cache(measured.influences))


def mean_of(measured: Measured, metrics: Sequence[str]) -> float:
    """Returns the mean of some metrics."""
    return float(np.mean([measured.metrics[metric] for metric in metrics]))


def influence_on_mean(
    before: Measured, after: Measured, metrics: Sequence[str]
) -> Influence | None:
    """Returns how each identity moves the difference of two means of metrics.

    None where a protocol gives numbers alone.
    """
    if not (before.influences and after.influences):
        return None
    earlier, later = before.influences(), after.influences()
    return influence.mean_of([later[metric] - earlier[metric] for metric in metrics])
