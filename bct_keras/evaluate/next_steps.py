"""Says what to do after a report: its page and the terminal name the same steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bct_keras import artefacts, stores
from bct_keras.data import around
from bct_keras.encoders import ADAPTER_KIND
from bct_keras.evaluate.findings import NEW_OLD
from bct_keras.evaluate.routes import MOVED, TEST_OF
from bct_keras.evaluate.summary import given_of, judged
from bct_keras.metrics.verdict import COMPATIBLE, MARGIN, NOT_COMPATIBLE, UNDECIDED
from bct_keras.printable import DATA, GALLERY, command_line

MORE = "MORE"  # a data set of more identities, where nobody has named one
# What `evaluate` takes again, so that the same is measured on other identities.
MEASURED = ("old", "new", "independent", "adapted", "fused", "moved")


@dataclass(frozen=True)
class NextStep:
    """Says what to do, and by which command; without one it is no command of ours."""

    text: str
    command: tuple[str, ...] = ()  # its words, as a shell takes them


@dataclass(frozen=True)
class OwnData:
    """Names the data set of the user, as commands take it; DATA where nobody knows it."""

    whole: str  # for a gallery
    to_fit_on: str  # without what is held out

    @classmethod
    def of(cls, report: Mapping[str, Any], fitted_on: str | None) -> "OwnData":
        """Returns that around what was fitted on, or else around what the protocols measured."""
        known = stores.place(fitted_on) if fitted_on else around.measured_by(report["protocols"])
        if known is None:
            return cls(DATA, DATA)
        return cls(str(around.whole_of(known)), str(around.to_fit_on(known)))


def next_steps(
    report: Mapping[str, Any], place: str = "REPORT", fitted_on: str | None = None
) -> list[NextStep]:
    """Returns what to do after a report, the first thing first; nothing after that of a series.

    Args:
        report: What report.json says.
        place: The folder of the report.
        fitted_on: The data set that was fitted on, or a part of it, where it is known.
    """
    if "candidates" in report:
        return []
    given = given_of(report)
    found = judged(report)
    if not found:
        return [after_self_test(report, given)]
    if "old" not in given:  # arrays, of which no command knows
        text = texts_without_command(found.get(NEW_OLD, {}).get("verdict"))
        return [NextStep(text)] if text else []
    data = OwnData.of(report, fitted_on)
    for word in (COMPATIBLE, UNDECIDED):
        for test, facts in found.items():
            if facts["verdict"] == word and not facts.get("looks_worse"):
                return after_admitted(report, test, place, data.whole)
    needed = [
        facts["identities_needed"] for facts in found.values() if "identities_needed" in facts
    ]
    if needed:
        text = f"Do not switch: it looks worse so far. {enough(min(needed))}"
        return [NextStep(text, measuring(report))]
    return [find_a_route(given["old"], given.get("new", "NEW"), data.to_fit_on)]


def find_a_route(old: str, new: str, data: str) -> NextStep:
    """Returns the step where no route that was measured works."""
    text = "Do not switch. Find the route to the old gallery that works, and what it costs"
    if artefacts.kind_of(stores.place(new)) == ADAPTER_KIND:
        return NextStep(f"{text}: bct advise takes the new encoder as it was before the adapter.")
    if data == DATA:
        text += f" ({DATA}: your data set, without the identities of the test)"
    return NextStep(f"{text}:", advice(old, new, data))


def after_self_test(report: Mapping[str, Any], given: Mapping[str, str]) -> NextStep:
    """Returns the step from one encoder alone to both."""
    flags = {"old": given.get("old", "OLD"), "new": given.get("new", "NEW")}
    flags |= {"protocol": next(iter(report["protocols"]), f"retrieval({DATA})")}
    text = "This is a self-test. Hold it against the other encoder:"
    return NextStep(text, words("evaluate", **flags, out="reports/new-old"))


def after_admitted(report: Mapping[str, Any], test: str, place: str, data: str) -> list[NextStep]:
    """Returns the steps after a verdict with which a gallery takes the queries of a test."""
    facts = judged(report)[test]
    given = given_of(report)
    if test == TEST_OF[MOVED]:
        flags = {"gallery": GALLERY, "adapter": given[MOVED], "new": given["new"], "report": place}
        command = words("gallery move", **flags)
        text = "move the gallery's entries to the new encoder; gallery restore takes that back:"
    else:
        command = words("gallery add", **entries(given["old"], data), report=place)
        text = "add the old encoder's entries to a gallery; by this report it takes new queries:"
    if facts["verdict"] == COMPATIBLE:
        return [NextStep(f"{text[0].upper()}{text[1:]}", command)]
    may = NextStep(f"It may be used as it is, for nothing shows it to be worse: {text}", command)
    if "identities_needed" not in facts:  # no number of them would tell
        return [may]
    sure = f"To be sure, measure the same on more first. {enough(facts['identities_needed'])}"
    return [NextStep(sure, measuring(report)), may]


def entries(old: str, data: str) -> dict[str, str]:
    """Returns the flags by which `gallery add` takes the old encoder's entries."""
    if old.endswith(".npz"):  # they are embedded already
        return {"gallery": GALLERY, "encoder": old}
    return {"gallery": GALLERY, "data": data, "encoder": old}


def measuring(report: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the command that measures the same routes by the same rule, on more identities."""
    given = given_of(report)
    flags = {name: given[name] for name in MEASURED if name in given}
    kind = next(iter(report["protocols"]), "").partition("(")[0]
    flags["protocol"] = f"{kind if kind == 'listed' else 'retrieval'}({MORE})"
    if given.get("decide_by"):
        flags["decide_by"] = given["decide_by"]
    if given.get("margin", str(MARGIN)) != str(MARGIN):
        flags["margin"] = given["margin"]
    return words("evaluate", **flags, out="reports/more")


def enough(count: int) -> str:
    """Returns how many identities are enough, as a sentence before the command."""
    return f"About {count:,} identities ({MORE}, a data set of them) would decide it:"


def advice(old: str, new: str, data: str = DATA) -> tuple[str, ...]:
    """Returns the command that compares all routes, for a gallery of a usual size.

    Stored embeddings are compared without a data set, for there are no images to embed.
    """
    flags = {"old": old, "new": new}
    if not (old.endswith(".npz") and new.endswith(".npz")):
        flags["data"] = data
    return words("advise", **flags, gallery_size="1e6", queries_per_day="1e4", out="advice")


def texts_without_command(verdict: str | None) -> str:
    """Returns what to do where the encoders are arrays."""
    return {
        COMPATIBLE: "Send queries of the new encoder to the old gallery.",
        NOT_COMPATIBLE: "Do not switch: fit an adapter (bct_keras.adapters.fit), or train on.",
        UNDECIDED: "Compare embeddings of more identities.",
    }.get(verdict or "", "")


def words(command: str, **flags: str) -> tuple[str, ...]:
    """Returns a command's words as a shell takes them."""
    return tuple(command_line(command, flags))
