"""What a command tells last that has measured an upgrade: table, verdict, what may follow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bct_keras import artefacts, stores
from bct_keras.data import around
from bct_keras.encoders import ADAPTER_KIND
from bct_keras.evaluate import report, summary
from bct_keras.evaluate.routes import MOVED
from bct_keras.metrics.verdict import COMPATIBLE, UNDECIDED
from bct_keras.printable import DATA, GALLERY, command_line
from bct_keras.progress import Outcome

PAGE = "report.html"  # of a report's folder


def outcome(
    found: dict[str, Any],
    folder: Path,
    old: str | None = None,
    data: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> Outcome:
    """Returns what is told of a report.

    Args:
        found: What report.json says.
        folder: Where the report is.
        old: The old encoder, as a flag names it; None where there is none.
        data: The data set that was fitted on, of which all are taken for the gallery; None where
            the protocols name the only one that is known.
        more: Facts on what was made besides, for programs.
    """
    text = f"{report.as_text(found)}\nreport: {folder / PAGE}"
    facts = {**(more or {}), "report": folder / PAGE, **found}
    if not old:
        return Outcome(text, facts)
    return Outcome(text, facts, what_follows(found, str(folder), old, data))


def what_follows(
    found: Mapping[str, Any], folder: str, old: str, data: str | None = None
) -> list[str]:
    """Returns the command that goes on from a report: by a route that may work, or to find one.

    Args:
        found: What report.json says.
        folder: The report's folder.
        old: The old encoder, as a flag names it.
        data: As in `outcome`.
    """
    place = stores.place(data) if data else around.measured_by(found["protocols"])
    given = summary.given_of(found)
    may_work = routes_that_may_work(found)
    if not may_work:
        new = given.get("new")
        if not new or artefacts.kind_of(stores.place(new)) == ADAPTER_KIND:
            return []  # advice is on an encoder as it came
        return [summary.advice(summary.name_of(old), new, place)]
    if may_work == [MOVED]:
        flags = {"gallery": GALLERY, "adapter": given[MOVED], "report": folder}
        return [" ".join(command_line("gallery move", flags))]
    flags = {"gallery": GALLERY}
    if not old.endswith(".npz"):
        flags["data"] = str(around.whole_of(place)) if place else DATA
    flags |= {"encoder": summary.name_of(old), "report": folder}
    return [" ".join(command_line("gallery add", flags))]


def routes_that_may_work(found: Mapping[str, Any]) -> list[str]:
    """Returns the options of what is compatible, or undecided without looking worse."""
    tests = {"new": found, **found.get("routes", {})}
    names = []
    for name, test in tests.items():
        if test.get("verdict") in (COMPATIBLE, UNDECIDED) and not test.get("looks_worse"):
            names.append(name)
    return names
