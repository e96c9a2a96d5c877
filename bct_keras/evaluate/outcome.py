"""What a command tells last that has measured an upgrade: table, verdict, what may follow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bct_keras.evaluate import report
from bct_keras.printable import DATA, GALLERY, command_line
from bct_keras.progress import Outcome

PAGE = "report.html"  # of a report's folder


def outcome(
    found: dict[str, Any],
    folder: Path,
    old: str | None = None,
    data: str = DATA,
    more: Mapping[str, Any] | None = None,
) -> Outcome:
    """Returns what is told of a report.

    Args:
        found: What report.json says.
        folder: Where the report is.
        old: The old encoder, as a flag names it; None where there is none.
        data: The data set of a gallery.
        more: Facts on what was made besides, for programs.
    """
    text = f"{report.as_text(found)}\nreport: {folder / PAGE}"
    facts = {**(more or {}), "report": folder / PAGE, **found}
    may_search = found.get("verdict") in ("compatible", "undecided")
    if not old or not may_search or found.get("looks_worse"):
        return Outcome(text, facts)
    flags = {"gallery": GALLERY, "data": data, "encoder": old, "report": str(folder)}
    return Outcome(text, facts, [" ".join(command_line("gallery add", flags))])
