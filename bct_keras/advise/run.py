"""Compares all routes from a new encoder to an old gallery, and says which one to take."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bct_keras import artefacts
from bct_keras.adapt.items import items_of
from bct_keras.advise import page
from bct_keras.advise.candidates import check_encoders, without_adapters
from bct_keras.advise.decision import decided
from bct_keras.advise.fitting import Fitting, Place
from bct_keras.advise.measuring import Measuring
from bct_keras.advise.next_steps import NextSteps
from bct_keras.advise.plan import Plan
from bct_keras.advise.report import Advice
from bct_keras.advise.speed import measured_speeds
from bct_keras.data import amount
from bct_keras.data.dataset import open_data_set
from bct_keras.encoders import Encoder
from bct_keras.errors import InputError, option
from bct_keras.evaluate.protocol import Protocol
from bct_keras.evaluate.report_folder import rule_facts
from bct_keras.evaluate.run import remarks
from bct_keras.metrics.verdict import Rule
from bct_keras.progress import Say, silent

ADVICE_KIND = "advice"
REPORT, PAGE, PLOT = "report.json", "report.html", "gains.png"


def advise(
    old: Encoder,
    new: Encoder,
    trained: Sequence[Encoder],
    plan: Plan,
    out: Path,
    protocols: Sequence[str] | None = None,
    rule: Rule | None = None,
    say: Say = silent,
) -> dict[str, Any]:
    """Returns what report.json says; all is fitted and measured where that is not done yet.

    Args:
        old: The old encoder, whose gallery there is.
        new: The new one, trained without constraint.
        trained: Encoders that were trained to be compatible with the old one.
        plan: What is fitted, and the gallery that costs are scaled to.
        out: The folder to make: the page, the report, and a folder for each adapter.
        protocols: What to measure by; None: identities that are held out.
        rule: What the verdicts go by.
        say: Takes lines on what is done.
    """
    rule = rule or Rule()
    check_encoders(old, new, trained)
    items = items_of(new, old, plan.of_queries())
    check_asked(protocols)
    measures = checked_protocols(items.protocols(protocols, out))
    items = items.apart_from(measures)
    made_from = {
        "old": old.fingerprint,
        "new": new.fingerprint,
        "trained": [encoder.fingerprint for encoder in trained],
        "items": items.fingerprint,
        **plan.facts(),
        **rule_facts(rule),
    }
    for spec, protocol in measures.items():
        made_from[spec] = protocol.made_from()
    with artefacts.making(out, ADVICE_KIND, made_from) as folder:
        if folder is None:
            say(f"{out} is up to date")
        else:
            for line in remarks([old, new, *trained], measures.values()):
                say(line)
            fitting = Fitting(
                old=old,
                new=new,
                plan=plan,
                items=items,
                asked=measures if protocols else {},
                place=Place(folder, out),
                say=say,
            )
            measuring = Measuring(measures, old, new, rule)
            advice = advice_on(measuring, fitting, trained)
            write(
                advice.described(measuring, named(fitting, trained) | made_from), folder, made_from
            )
    return artefacts.read_result(out, ADVICE_KIND, REPORT)


def write(report: dict[str, Any], folder: Path, made_from: dict[str, Any]) -> None:
    """Writes the page, its plot, the report, and the manifest last."""
    plot = page.gain_plot(report, folder / PLOT)
    (folder / PAGE).write_text(page.as_html(report, plot))
    files = artefacts.write_result(folder, REPORT, report)
    artefacts.write_manifest(folder, ADVICE_KIND, made_from, files=files)


def check_asked(protocols: Sequence[str] | None) -> None:
    """Refuses to measure by nothing, which `adapt` may."""
    if protocols and "none" in protocols:
        raise InputError(
            f"{option('protocol', 'none')}: an advice goes by what is measured",
            "give one of identities that no encoder has seen, as in retrieval(data/demo/test)",
        )


def checked_protocols(found: Mapping[str, Protocol]) -> Mapping[str, Protocol]:
    """Refuses an advice that nothing is measured by."""
    if found:
        return found
    raise InputError(
        "nothing to measure the routes by: without labels it cannot be told whether the new encoder"
        " is any better",
        f"give `labels` [n] in one of the .npz files, or {option('protocol')}",
    )


def named(fitting: Fitting, trained: Sequence[Encoder]) -> dict[str, str]:
    """Returns what loads the encoders again, for the report."""
    specs = [encoder.spec for encoder in trained]
    return {
        "--old": fitting.old.spec,
        "--new": fitting.new.spec,
        "--trained": ", ".join(specs),
    }


def advice_on(measuring: Measuring, fitting: Fitting, trained: Sequence[Encoder]) -> Advice:
    """Fits, measures and decides."""
    plan, say = fitting.plan, fitting.say
    routes = without_adapters(fitting.old, fitting.new, trained) + fitting.routes(trained)
    found = []
    for route in routes:
        say(f"measuring: {route.name}")
        found.append(measuring.found(route))
    say("measuring how fast networks and maps are here")
    data = open_data_set(plan.data) if plan.data else None
    speeds = measured_speeds(routes, data)
    decision = decided(found, measuring.difference)
    if not trained:
        decision.unsure.append(
            "No encoder that was trained to be compatible was compared: give such ones by"
            f" {option('trained')}"
        )
    (taken,) = [route for route in routes if route.name == decision.route]
    few = bool(data and amount.is_small(data.records, data.classes))
    if data and few:
        decision.unsure.append(
            f"{amount.too_few(data.records, data.classes)}: train from an encoder that there is,"
            f" by train {option('start', 'NEW')}, or by the maps of this page"
        )
    next_steps = NextSteps(
        old=fitting.old,
        plan=plan,
        protocols=list(measuring.protocols),
        asked=bool(fitting.asked),
        few=few,
    )
    return Advice(decision, next_steps.after(taken, routes), found, speeds, plan)
