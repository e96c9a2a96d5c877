"""What a command tells last that has measured an upgrade: table, verdict, what may follow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bct_keras.evaluate import report
from bct_keras.evaluate.next_steps import next_steps
from bct_keras.progress import Outcome

PAGE = "report.html"  # of a report's folder


def outcome(
    found: dict[str, Any],
    folder: Path,
    fitted_on: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> Outcome:
    """Returns what is told of a report.

    Args:
        found: What report.json says.
        folder: Where the report is.
        fitted_on: The data set that was fitted on, or a part of it, where it is known.
        more: Facts on what was made besides, for programs.
    """
    text = f"{report.as_text(found)}\nreport: {folder / PAGE}"
    facts = {**(more or {}), "report": folder / PAGE, **found}
    steps = next_steps(found, str(folder), fitted_on)
    return Outcome(text, facts, [" ".join(step.command) for step in steps if step.command])
