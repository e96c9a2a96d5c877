"""Says what a report is about and what to do next, for its first screen and report.json."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bct_keras import specs, stores
from bct_keras.encoders import ADAPTER_FILE, ENCODER_FILE, Encoder
from bct_keras.evaluate.findings import NEW_OLD
from bct_keras.evaluate.protocol import Protocol
from bct_keras.evaluate.routes import ADAPTED, FUSED, MOVED, TEST_OF
from bct_keras.metrics.verdict import COMPATIBLE, UNDECIDED

MEANINGS = {
    NEW_OLD: "new queries as they are",
    TEST_OF[ADAPTED]: "new queries through the adapter",
    TEST_OF[FUSED]: "queries of both encoders together",
    TEST_OF[MOVED]: "new queries once the adapter has moved the gallery",
}


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
    for test in list(found):
        if not found[test]["verdict"]:
            del found[test]
    return found


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


def given_of(report: Mapping[str, Any]) -> dict[str, str]:
    """Returns the encoders as the command was given them, by their options.

    Of the gallery that is moved it is the adapter alone, which is what --moved takes.
    """
    found = {}
    for option, value in report["made_from"].items():
        if option.startswith("--") and isinstance(value, str):
            found[option.removeprefix("--")] = name_of(value)
    if MOVED in found:
        found[MOVED] = adapter_of(found[MOVED])
    return found


def adapter_of(spec: str) -> str:
    """Returns the adapter's file or folder, as a flag takes it, of an encoder behind it.

    Example:
        >>> adapter_of("adapted(old.keras, adapted/gallery/adapter.keras)")
        'adapted/gallery'
    """
    parsed = specs.parse(spec) if spec.startswith("adapted(") else None
    if parsed is None or len(parsed.positional) != 2:
        return spec
    return str(specs.literal(parsed.positional[1])).removesuffix(f"/{ADAPTER_FILE}")
