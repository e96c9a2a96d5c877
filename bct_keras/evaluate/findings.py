"""Holds what encoders give for a protocol, and what a report tells of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bct_keras.metrics.gains import carried_over, curves, thresholds
from bct_keras.metrics.groups import equal_error
from bct_keras.metrics.measured import Measured
from bct_keras.metrics.odds import Odds
from bct_keras.metrics.verification import Sides

OLD_OLD, NEW_OLD, NEW_NEW = "old/old", "new/old", "new/new"  # query encoder / gallery encoder


@dataclass(frozen=True)
class Upgrade:
    """Holds queries and gallery by the old and by the new encoder, as far as they are known."""

    old: Sides | None = None
    new: Sides | None = None
    cross: Sides | None = None  # by the new encoder, in the old one's dimensions


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
    # Of each test but the first: FAR and TAR at the first one's thresholds
    carried_over: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    equal_error: dict[str, dict[str, float]] = field(default_factory=dict)  # of each test
    groups: dict[str, Any] = field(default_factory=dict)  # {metric: {test: {group: its rates}}}
    calibration: dict[str, dict[str, Any]] = field(default_factory=dict)  # of each test
    routes: dict[str, dict[str, Any]] = field(default_factory=dict)  # the gains of each route
    mixed: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)  # of each test
    notes: list[str] = field(default_factory=list)

    def add_scores(self, measured: Mapping[str, Measured]) -> None:
        """Adds what the scores of each test come to: curves, thresholds and calibrations."""
        for test, each in measured.items():
            if not each.find_verification:
                continue
            pairs = each.find_verification()
            self.curves[test] = curves(pairs)
            self.equal_error[test] = equal_error(pairs)
            if len(measured) > 1:  # one ranked list needs scores of two kinds
                self.calibration[test] = Odds.of_verification(pairs).facts()
            cosines = thresholds(pairs, each.metrics)
            if cosines:
                self.thresholds[test] = cosines
            if test != OLD_OLD and OLD_OLD in self.thresholds:
                self.carried_over[test] = carried_over(self.thresholds[OLD_OLD], pairs)

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
            "routes": self.routes,
            "mixed": self.mixed,
            "thresholds": self.thresholds,
            "carried_over": self.carried_over,
            "equal_error": self.equal_error,
            "groups": self.groups,
            "calibration": self.calibration,
            "curves": self.curves,
            "notes": self.notes,
        }
        for name, part in parts.items():
            if part:
                found[name] = part
        return found
