"""Says what a report is about and what to do next, for its first screen and report.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bct_keras import stores
from bct_keras.encoders import ENCODER_FILE, Encoder
from bct_keras.evaluate.findings import NEW_OLD
from bct_keras.evaluate.protocol import Protocol
from bct_keras.evaluate.routes import ADAPTED, FUSED, MOVED, TEST_OF
from bct_keras.metrics.verdict import COMPATIBLE, NOT_COMPATIBLE, UNDECIDED
from bct_keras.printable import DATA, GALLERY, command_line

MEANINGS = {
    NEW_OLD: "new queries as they are",
    TEST_OF[ADAPTED]: "new queries through the adapter",
    TEST_OF[FUSED]: "queries of both encoders together",
    TEST_OF[MOVED]: "new queries once the adapter has moved the gallery",
}


@dataclass(frozen=True)
class NextStep:
    """Says what to do, and by which command; without one it is no command of ours."""

    text: str
    command: str = ""


def today() -> str:
    """Returns the date, in UTC."""
    return datetime.now(UTC).date().isoformat()


def encoder_facts(encoders: Mapping[str, Encoder]) -> dict[str, dict[str, Any]]:
    """Returns the name of each encoder, its dimensions and the date of its file."""
    found = {}
    for option, encoder in encoders.items():
        facts: dict[str, Any] = {"name": name_of(encoder.spec), "dims": encoder.dims}
        date = date_of_file(encoder.path)
        if date:
            facts["date"] = date
        found[option] = facts
    return found


def name_of(spec: str) -> str:
    """Returns what a user calls an encoder: a run is named by its folder."""
    return spec.removesuffix(f"/{ENCODER_FILE}")


def date_of_file(path: Path) -> str:
    """Returns the day on which a file or folder was last written; empty where it is none."""
    try:
        found: Any = path.stat()
    except (OSError, ValueError):  # an array, or an encoder in memory
        return ""
    seconds = found.mtime if stores.is_remote(path) else found.st_mtime
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def add_counts(results: Mapping[str, dict[str, Any]], protocols: Mapping[str, Protocol]) -> None:
    """Writes how many identities, images and queries there are into each protocol's result."""
    for spec, protocol in protocols.items():
        counts = protocol.counts()
        if counts:
            results[spec]["counts"] = counts


def fact_lines(report: Mapping[str, Any]) -> dict[str, str]:
    """Returns what the first screen says beside the verdict, by the name of each fact."""
    facts = {}
    for option, found in report.get("encoders", {}).items():
        if option in TEST_OF:  # those of routes stand at the end, under "Made from"
            continue
        date = f", file of {found['date']}" if "date" in found else ""
        facts[f"{option} encoder" if option in ("old", "new") else option] = (
            f"{found['name']} ({found['dims']} dimensions{date})"
        )
    counted = []
    for spec, result in report["protocols"].items():
        texts = [f"{count:,} {what}" for what, count in result.get("counts", {}).items()]
        if texts:
            of = f" ({spec})" if len(report["protocols"]) > 1 else ""
            counted.append(f"{', '.join(texts)}{of}")
    if counted:
        facts["measured on"] = "; ".join(counted)
    route = route_line(report)
    if route:
        facts["route"] = route
    if "date" in report:
        facts["date"] = f"{report['date']}, by bct_keras {report['version']}"
    return facts


def verdicts_of(report: Mapping[str, Any]) -> dict[str, str | None]:
    """Returns the verdict on each test: new/old, and those of the routes."""
    return {test: facts["verdict"] for test, facts in judged(report).items()}


def judged(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Returns what a report says of each test that there is a verdict on, with the reason."""
    found: dict[str, Mapping[str, Any]] = {NEW_OLD: report}
    for name, route in report.get("routes", {}).items():
        found[TEST_OF[name]] = route
    return {test: facts for test, facts in found.items() if facts["verdict"]}


def route_line(report: Mapping[str, Any]) -> str:
    """Returns by which routes the old gallery can be searched, of those that were measured."""
    verdicts = verdicts_of(report)
    if not verdicts or "candidates" in report:
        return ""
    for word, said in ((COMPATIBLE, ""), (UNDECIDED, "none is proven yet: ")):
        routes = [f"{MEANINGS[test]} ({test})" for test in verdicts if verdicts[test] == word]
        if routes:
            return f"{said}{'; '.join(routes)}"
    return f"none of those that were measured works: {', '.join(verdicts)}"


def next_step(report: Mapping[str, Any], place: str = "REPORT") -> NextStep | None:
    """Returns what to do after a report; None after that of a series.

    Args:
        report: What report.json says.
        place: The folder of the report.
    """
    if "candidates" in report:
        return None
    given = given_of(report)
    old, new = given.get("old", "OLD"), given.get("new", "NEW")
    protocol = next(iter(report["protocols"]))
    verdicts = verdicts_of(report)
    if not verdicts:
        return NextStep(
            "This is a self-test. Hold it against the other encoder:",
            line("evaluate", old=old, new=new, protocol=protocol, out="reports/new-old"),
        )
    if "old" not in given:  # arrays, of which no command knows
        return NextStep(texts_without_command(verdicts[NEW_OLD]))
    routes = {test: name for name, test in TEST_OF.items()}
    for test, verdict in verdicts.items():
        if verdict == COMPATIBLE:
            return after_compatible(routes.get(test, ""), given, protocol, place)
    if UNDECIDED in verdicts.values():
        needed = report.get("identities_needed")
        more = f"about {needed:,} identities would decide it" if needed else "more may decide it"
        so_far = "It looks worse so far. " if report.get("looks_worse") else ""
        return NextStep(
            f"{so_far}Measure on more identities (MORE, a data set of them): {more}.",
            line("evaluate", old=old, new=new, protocol="retrieval(MORE)", out="reports/more"),
        )
    return NextStep(
        "Do not switch. Find the route to the old gallery that works, and what it costs:",
        advice(old, new),
    )


def advice(old: str, new: str) -> str:
    """Returns the command that compares all routes, for a gallery of a usual size.

    Stored embeddings are compared without a data set, for there are no images to embed.
    """
    flags = {"old": old, "new": new}
    if not (old.endswith(".npz") and new.endswith(".npz")):
        flags["data"] = DATA
    return line("advise", **flags, gallery_size="1e6", queries_per_day="1e4", out="advice")


def texts_without_command(verdict: str | None) -> str:
    """Returns what to do where the encoders are arrays."""
    return {
        COMPATIBLE: "Send queries of the new encoder to the old gallery.",
        NOT_COMPATIBLE: "Do not switch: fit an adapter (bct_keras.adapters.fit), or train on.",
        UNDECIDED: "Compare embeddings of more identities.",
    }.get(verdict or "", "")


def after_compatible(route: str, given: Mapping[str, str], protocol: str, place: str) -> NextStep:
    """Returns what to do where a route is compatible."""
    old = given["old"]
    if route == MOVED:
        return NextStep(
            "Move the gallery's entries to the new encoder; they can be taken back:",
            line("gallery move", gallery=GALLERY, adapter=given[MOVED], report=place),
        )
    encoder = {ADAPTED: given.get(ADAPTED), FUSED: given.get(FUSED)}.get(route) or given["new"]
    if encoder.endswith(".npz") or "(" in encoder:
        return NextStep(
            "Tell the gallery, which takes queries of the new encoder from then on:",
            line("gallery add", gallery=GALLERY, report=place),
        )
    return NextStep(
        "Export the encoder of the queries, each file held against this verdict again:",
        line("export", encoder=encoder, old=old, protocol=protocol, out="exported"),
    )


def given_of(report: Mapping[str, Any]) -> dict[str, str]:
    """Returns the encoders as the command was given them, by their options."""
    found = {}
    for option, value in report["made_from"].items():
        if option.startswith("--") and isinstance(value, str):
            found[option.removeprefix("--")] = name_of(value)
    return found


def line(command: str, **flags: str) -> str:
    """Returns a command as a shell takes it."""
    return " ".join(command_line(command, flags))
