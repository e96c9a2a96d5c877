"""Says what report.json has of an advice."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import bct_keras
from bct_keras.advise.candidates import BACKFILL, KEEP
from bct_keras.advise.costs import costs_of, given_up
from bct_keras.advise.decision import Decision
from bct_keras.advise.measuring import Found, Measuring
from bct_keras.advise.next_steps import Step
from bct_keras.advise.plan import Plan
from bct_keras.advise.speed import Speeds, machine
from bct_keras.evaluate.findings import NEW_NEW, OLD_OLD
from bct_keras.evaluate.report_folder import verdict_facts
from bct_keras.metrics.verdict import Gain


@dataclass(frozen=True)
class Advice:
    """Holds all that was found."""

    decision: Decision
    steps: Sequence[Step]
    found: Sequence[Found]
    speeds: Speeds
    plan: Plan

    def described(self, measuring: Measuring, made_from: dict[str, Any]) -> dict[str, Any]:
        """Returns what report.json says."""
        routes = {}
        for each in self.ordered():
            routes[each.route.name] = self.facts_of(each)
        protocols = {}
        notes = list(notes_on(self.plan, self.speeds))
        free = measuring.measured(measuring.new, measuring.new)
        encoders = {id(each.route.own): each.route.own for each in self.found}
        for spec, protocol in measuring.protocols.items():
            protocols[spec] = {
                "decided_by": measuring.deciders[spec],
                OLD_OLD: measuring.before[spec].metrics,
                NEW_NEW: free[spec].metrics,
            }
            notes += protocol.notes(list(encoders.values()))
        return {
            "version": bct_keras.__version__,
            "decision": {
                "route": self.decision.route,
                "action": self.decision.action,
                "because": self.decision.because,
                "unsure": self.decision.unsure,
                "next": [asdict(step) for step in self.steps],
            },
            "routes": routes,
            "protocols": protocols,
            "machine": machine(),
            "notes": notes,
            "made_from": made_from,
        }

    def ordered(self) -> list[Found]:
        """Returns the route to take, then the others by what they gain, and the bounds last."""

        def place(each: Found) -> tuple[bool, bool, bool, float]:
            return (
                each.route.name != self.decision.route,
                each.route.kind == BACKFILL,
                each.route.kind == KEEP,
                -each.gain.value,
            )

        return sorted(self.found, key=place)

    def facts_of(self, found: Found) -> dict[str, Any]:
        """Returns what is told of one route."""
        route = found.route
        tests = {}
        for spec, measured in found.measured.items():
            tests[spec] = {"metrics": measured.metrics, **found.facts[spec]}
        return {
            "kind": route.kind,
            **verdict_facts(found.verdict),
            "gain": gain_facts(found.gain),
            "deciding": {gain.name: gain.value for gain in found.deciding},
            "alone": gain_facts(found.alone),
            "tax": gain_facts(found.tax),
            "networks": len(route.networks),
            "costs": asdict(costs_of(route, self.plan, self.speeds)),
            "given_up": asdict(given_up(route)),
            "why_not": self.decision.others.get(route.name, ""),
            "tests": tests,
        }


def gain_facts(gain: Gain) -> dict[str, Any]:
    """Returns a gain with its interval."""
    return {"value": gain.value, "interval": list(gain.interval() or ())}


def notes_on(plan: Plan, speeds: Speeds) -> list[str]:
    """Returns what a reader has to know of all the numbers."""
    notes = [
        "The route is chosen and measured on the same test identities, so that its gain is a little"
        " too high: that of the best of several always is.",
        "The mean gain is that of the metrics that the verdict goes by; routes are ranked by it.",
    ]
    if not speeds.networks:
        notes.append(
            "Times of networks are not known: there are stored embeddings, and nothing here embeds"
            " an image."
        )
        return notes
    notes.append(
        f"Times are those of this machine ({machine()}), scaled to {plan.gallery_size:,.0f} entries"
        f" and {plan.queries_per_day:,.0f} queries a day, one query at a time. The work on the"
        " gallery is that of the network or the map alone, without reading and writing entries."
    )
    if plan.cost_per_gpu_hour is not None and "no GPU" in machine():
        notes.append(
            "Money is by the hours of this machine, which has no GPU: run this on the machine that"
            " the price is of."
        )
    return notes
