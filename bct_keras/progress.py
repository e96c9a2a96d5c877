"""What is told while something takes long, and at its end.

That is a bar where somebody is watching, and lines to whoever wants them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from bct_keras.printable import line

if TYPE_CHECKING:
    from tqdm import tqdm

Item = TypeVar("Item")
DELAY_SECONDS = 2.0
# What takes lines of text as the work goes on: a command prints them.
Say = Callable[[str], None]


# Whether nobody wants to see bars, as a command's --quiet says.
_quiet = False


@dataclass(frozen=True)
class Outcome:
    """What work has come to: the last that a command tells.

    Attributes:
        text: For people.
        facts: The same for programs, as JSON has it.
        then: Commands that may be typed next.
    """

    text: str
    facts: Mapping[str, Any]
    then: Sequence[str] = ()


def be_quiet() -> None:
    """Shows no bar from now on."""
    global _quiet
    _quiet = True


def is_quiet() -> bool:
    """Tells whether bars are to be left out."""
    return _quiet


def note(text: str) -> None:
    """Prints what the work waits for, as a bar would.

    Nobody has asked for it, but it explains the silence.
    """
    print(text, flush=True)


def silent(text: str) -> None:
    """Says nothing; for work whose caller wants no lines."""


def track(
    items: Iterable[Item], what: str, total: int | None = None, unit: str = "images"
) -> Iterator[Item]:
    """Yields the items, and shows a bar of them."""
    return iter(bar(what, total, unit, items))


def bar(
    what: str,
    total: int | None,
    unit: str = "images",
    items: Iterable | None = None,
    delay: float = DELAY_SECONDS,
) -> "tqdm":
    """Returns a bar, which nobody sees before two seconds have passed.

    Args:
        what: Names the work.
        total: How many there are.
        unit: What is counted.
        items: What the bar goes through; without them its `update` is called.
        delay: The seconds that pass before the bar is seen.
    """
    from tqdm import tqdm  # not before there is something to show: `--help` is at once

    # disable=None: no bar where the output is not a terminal.
    return tqdm(
        items,
        desc=line(what),
        total=total,
        unit=f" {unit}",
        delay=delay,
        disable=True if _quiet else None,
        leave=False,
    )
