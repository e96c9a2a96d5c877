"""Reads from reports of `evaluate` which encoder's queries fit which encoder's entries.

It is never guessed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bct_keras import artefacts
from bct_keras.errors import InputError, option
from bct_keras.evaluate.findings import NEW_NEW, NEW_OLD, OLD_OLD
from bct_keras.evaluate.routes import MOVED, TEST_OF
from bct_keras.gallery.facts import BY_COMPATIBLE, BY_EMBEDDING, Compatibility
from bct_keras.metrics.odds import Odds
from bct_keras.metrics.verdict import COMPATIBLE, UNDECIDED, sentence_of
from bct_keras.untrusted.json_files import field, read_object


@dataclass(frozen=True)
class Admission:
    """What a report lets in, and what it does not."""

    compatible: list[Compatibility]
    refused: list[str]  # a sentence each


@dataclass(frozen=True)
class Way:
    """One way of searching old entries that a report has measured."""

    test: str  # such as new/old
    query: str  # fingerprints
    gallery: str
    by: str  # which of the query's embeddings searches
    word: Any  # the verdict
    because: str
    looks_worse: bool = False


def read_report(path: str | Path, max_loss: float | None = None, strict: bool = False) -> Admission:
    """Returns which queries may search entries of the old encoder, as a report says.

    It lets in the queries of the new encoder, and each other route to the old gallery by its own
    verdict. With them comes what cosines stand for, where the report has it. It raises where
    nothing is let in.

    Args:
        path: The report, or its folder.
        max_loss: The verdict is not asked: at most this share of the old self-test may be lost.
            That is the measure for a file exported from the very encoder that made the entries,
            which cannot be better than itself.
        strict: Whether an undecided verdict is refused. Else it is let in and remembered as such.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "report.json"
    if not path.exists():
        raise InputError(f"{path}: no such report; evaluate makes one")
    report, ways, losses = parts_of_report(path)

    def finding_of(way: Way) -> str:
        if max_loss is None:
            return judged(path, way, strict)
        return within_loss(path, losses[way.test], max_loss)

    return admitted(report, ways, finding_of, calibrations(path, report))


def parts_of_report(
    path: Path,
) -> tuple[dict[str, Any], list[Way], dict[str, dict[str, float]]]:
    """Returns a report, the ways that it has measured, and what each of them loses by its test."""
    losses: dict[str, dict[str, float]] = {}
    ways: list[Way] = []
    try:
        report = read_object(path)
        made_from = field(report, "made_from", dict, path)
        protocols = field(report, "protocols", dict, path)
        if made_from.get("new") and made_from.get("old"):
            ways = list(ways_of(report, protocols))
            losses = {way.test: losses_of(protocols, way.test) for way in ways}
    except InputError as error:
        raise InputError(f"{path} is no report of evaluate: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no report of evaluate: {error!r}") from None
    texts = [text for way in ways for text in (way.query, way.gallery)]
    if not ways or not all(isinstance(text, str) for text in texts):
        raise InputError(
            f"{path} is the self-test of one encoder; a report with {option('old')} and "
            f"{option('new')} is needed"
        )
    return report, ways, losses


def ways_of(report: dict[str, Any], protocols: dict[str, Any]) -> list[Way]:
    """Returns the ways that a report has measured, that of the new encoder first."""
    made_from = report["made_from"]
    routes = report.get("routes", {})
    ways = []
    if not routes or any(NEW_OLD in result for result in protocols.values()):
        ways.append(
            Way(
                test=NEW_OLD,
                query=made_from["new"],
                gallery=made_from["old"],
                by=BY_COMPATIBLE,
                word=report.get("verdict"),
                because=report.get("because", ""),
                looks_worse=bool(report.get("looks_worse")),
            )
        )
    for name, route in routes.items():
        ways.append(
            Way(
                test=TEST_OF[name],
                query=route["query"],
                gallery=route["gallery"],
                by=BY_EMBEDDING if name == MOVED else BY_COMPATIBLE,
                word=route.get("verdict"),
                because=route.get("because", ""),
                looks_worse=bool(route.get("looks_worse")),
            )
        )
    return ways


def admitted(
    report: dict[str, Any],
    ways: list[Way],
    finding_of: Callable[[Way], str],
    calibration_of: Mapping[str, dict[str, Any]],
) -> Admission:
    """Returns what is let in; raises what is wrong with the first way where none is.

    Args:
        report: The whole report, which is remembered by its fingerprint.
        ways: What it has measured.
        finding_of: Returns what was found of a way; raises where that does not let it in.
        calibration_of: What cosines of each test stand for.
    """
    fingerprint = artefacts.fingerprint(report)
    compatible, errors = [], []
    for way in ways:
        try:
            finding = finding_of(way)
        except InputError as error:
            errors.append(error)
            continue
        compatible.append(
            Compatibility(
                query=way.query,
                gallery=way.gallery,
                report=fingerprint,
                finding=finding,
                by=way.by,
                calibration=calibration_of.get(way.test, {}),
            )
        )
    if not compatible:
        raise errors[0]
    new = report["made_from"]["new"]
    if NEW_NEW in calibration_of:
        compatible.append(
            Compatibility(
                query=new,
                gallery=new,
                report=fingerprint,
                finding="its own",
                by=BY_EMBEDDING,
                calibration=calibration_of[NEW_NEW],
            )
        )
    return Admission(compatible, [error.args[0] for error in errors])


def calibrations(path: Path, report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns what the cosines of each test stand for, by the first protocol that tells it."""
    for result in report["protocols"].values():
        facts = result.get("calibration")
        if not facts:
            continue
        try:
            return {test: Odds.from_facts(each).facts() for test, each in facts.items()}
        except (InputError, ArithmeticError, AttributeError, TypeError, ValueError) as error:
            raise InputError(f"{path} is no report of evaluate: {error}") from None
    return {}


def losses_of(protocols: dict[str, Any], test: str) -> dict[str, float]:
    """Returns for each metric the share of the entries' own self-test that a test loses."""
    losses = {}
    for protocol, result in protocols.items():
        found = result[test]
        for metric, own in result[OLD_OLD].items():
            losses[f"{metric} of {protocol}"] = loss(own, found[metric])
    return losses


def judged(path: Path, way: Way, strict: bool) -> str:
    """Returns what the report found, where that lets the queries in."""
    if way.word == COMPATIBLE:
        return COMPATIBLE
    if way.word == UNDECIDED and not strict:
        return sentence_of(UNDECIDED, way.because, way.looks_worse)
    on = "" if way.test == NEW_OLD else f" on {way.test}"
    raise InputError(
        f"{path} says{on}: {way.word}: {way.because}; a gallery does not take such queries.",
        "For a file exported from the entries' own encoder give the loss that you accept, as in "
        f"{option('max_loss', 0.01)}",
    )


def within_loss(path: Path, losses: dict[str, float], max_loss: float) -> str:
    """Returns how much is lost, where that is no more than is allowed."""
    if not losses:
        raise InputError(f"{path} holds no metric")
    worst = max(losses, key=lambda metric: losses[metric])
    largest = losses[worst]
    if largest > max_loss:
        raise InputError(
            f"{path}: {worst} loses {largest:.2%} of old/old, more than "
            f"{option('max_loss', max_loss)}"
        )
    return f"loses at most {max(largest, 0):.2%} ({worst})"


def loss(own: float, cross: float) -> float:
    """Returns the share of one metric that is lost."""
    if own > 0 and cross == cross:
        return (own - cross) / own
    if cross >= own:
        return 0.0
    return float("inf")  # a metric that is no number is lost
