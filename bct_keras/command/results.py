"""Where the final result of a command goes, and where all else that it prints.

--quiet leaves all else out, and --json sends it to standard error. Both hold for what libraries and
processes of ours print, too: the descriptor of standard output is another one while the work goes
on.
"""

import json
import math
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bct_keras import progress
from bct_keras.command.plain_stream import LAYOUT, PlainStream
from bct_keras.progress import Outcome


@dataclass(frozen=True)
class Diverted:
    """Standard output as it was, which only the final result goes to."""

    results: PlainStream
    as_json: bool


_diverted: Diverted | None = None


def divert(quiet: bool, as_json: bool) -> None:
    """Sends what is printed from now on elsewhere, where that is asked for; not the result."""
    global _diverted
    if quiet:
        progress.be_quiet()
    if not quiet and not as_json:
        return
    sys.stdout.flush()
    _diverted = Diverted(PlainStream(os.fdopen(os.dup(1), "w"), LAYOUT), as_json)
    elsewhere = os.open(os.devnull, os.O_WRONLY) if quiet else os.dup(2)
    os.dup2(elsewhere, 1)
    os.close(elsewhere)


def finish(outcome: Outcome) -> None:
    """Prints what the work has come to, and what may be typed next."""
    sys.stdout.flush()
    if _diverted is None:
        print(outcome.text)
    elif _diverted.as_json:
        _diverted.results.write(f"{as_object(outcome.facts)}\n")
        _diverted.results.flush()
    else:
        _diverted.results.write(f"{outcome.text}\n")
        _diverted.results.flush()
    suggest(outcome.then)


def suggest(commands: Iterable[str]) -> None:
    """Prints commands that may be typed next."""
    for command in commands:
        print(f"next: {command}", flush=True)


def as_object(facts: Any) -> str:
    """Returns facts as JSON in one line.

    >>> as_object({"top-1": float("nan"), "out": "runs/new"})
    '{"top-1": null, "out": "runs/new"}'
    """
    return json.dumps(plain(facts), allow_nan=False)


def plain(value: Any) -> Any:
    """Returns a value as JSON has it: what is no finite number is null, and a path is text."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if hasattr(value, "item"):  # a number of numpy
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
