"""Reads from reports of `evaluate` which encoder's queries fit which encoder's entries.

It is never guessed.
"""

from pathlib import Path
from typing import Any

from bct_keras import artefacts
from bct_keras.errors import InputError, option
from bct_keras.gallery.gallery import Compatibility
from bct_keras.metrics.verdict import COMPATIBLE, UNDECIDED
from bct_keras.untrusted.json_files import field, read_object


def read_report(
    path: str | Path, max_loss: float | None = None, strict: bool = False
) -> Compatibility:
    """Returns that queries of the new encoder may search entries of the old one, as a report says.

    Raises where the report's verdict does not allow it. An undecided verdict is let in and
    remembered as such, but not if it has to be `strict`. With `max_loss` the verdict is not asked:
    at most this share of the old self-test may be lost. That is the measure for a file exported
    from the very encoder that made the entries, which cannot be better than itself.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "report.json"
    if not path.exists():
        raise InputError(f"{path}: no such report; evaluate makes one")
    losses = {}
    try:
        report = read_object(path)
        made_from = field(report, "made_from", dict, path)
        query = made_from.get("new")
        gallery = made_from.get("old")
        protocols = field(report, "protocols", dict, path)
        if query and gallery:
            losses = losses_of(protocols)
    except InputError as error:
        raise InputError(f"{path} is no report of evaluate: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no report of evaluate: {error!r}") from None
    if not (isinstance(query, str) and isinstance(gallery, str)):
        raise InputError(
            f"{path} is the self-test of one encoder; a report with {option('old')} and "
            f"{option('new')} is needed"
        )
    if max_loss is None:
        finding = judged(path, report, strict)
    else:
        finding = within_loss(path, losses, max_loss)
    return Compatibility(
        query=query,
        gallery=gallery,
        report=artefacts.fingerprint(report),
        finding=finding,
    )


def losses_of(protocols: dict[str, Any]) -> dict[str, float]:
    """Returns for each metric the share of the entries' own self-test that these queries lose."""
    losses = {}
    for protocol, result in protocols.items():
        cross_test = result["new/old"]
        for metric, own in result["old/old"].items():
            losses[f"{metric} of {protocol}"] = loss(own, cross_test[metric])
    return losses


def judged(path: Path, report: dict[str, Any], strict: bool) -> str:
    """Returns what the report found, where that lets the queries in."""
    word = report.get("verdict")
    because = report.get("because", "")
    if word == COMPATIBLE:
        return COMPATIBLE
    if word == UNDECIDED and not strict:
        return f"{UNDECIDED}: {because}"
    raise InputError(
        f"{path} says: {word}: {because}; a gallery does not take such queries.",
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
