"""Which images of a source can be used: looked at before any is written, or taken as they are."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np

from bct_keras.engines import Crew, Piece, Report, Result
from bct_keras.errors import BadImageError, InputError
from bct_keras.prepare.sources.source import Record
from bct_keras.prepare.workplace import RECORDS_PER_REPORT, Look, Workplace, unusable

RECORDS_PER_CHECK = 8192


@dataclass(frozen=True)
class Checked:
    """The records of a source that can be used, identities without any left out."""

    positions: np.ndarray  # [records] in file order
    labels: np.ndarray  # [records]
    kept: np.ndarray  # [identities] their numbers in the source
    look: Look | None  # None: nothing was looked at yet
    skipped: list[str]  # what was wrong with the others

    def between(self, first: int, last: int) -> "Checked":
        """Returns the records of the identities from `first` on and before `last`."""
        if first == 0 and last == len(self.kept):
            return self
        rows = np.flatnonzero((self.labels >= first) & (self.labels < last))
        return replace(
            self,
            positions=self.positions[rows],
            labels=self.labels[rows] - first,
            kept=self.kept[first:last],
        )


def usable(
    labels: np.ndarray, is_usable: np.ndarray, look: Look | None, skipped: list[str]
) -> Checked:
    """Returns the records that can be used, with identities numbered anew.

    Raises where they are too few.
    """
    positions = np.flatnonzero(is_usable)
    labels = labels[positions]
    present = np.bincount(labels) > 0
    kept = np.flatnonzero(present)
    if len(kept) < 2:
        raise InputError(
            f"images of {len(kept)} identities can be used; at least 2 identities are needed"
        )
    new_number = np.cumsum(present) - 1
    return Checked(
        positions=positions,
        labels=new_number[labels],
        kept=kept,
        look=look,
        skipped=skipped,
    )


@dataclass(frozen=True)
class Stretch:
    """The images of a piece that is looked at: those from `start` to `stop`, in file order."""

    start: int
    stop: int


@dataclass(frozen=True)
class Checker:
    """Looks at images and says which cannot be used."""

    place: Workplace

    def opener(self) -> Callable[[], "Checker"]:
        """Returns what opens the source again."""
        return partial(open_checker, self.place.opener)

    def do(self, piece: Piece, report: Report) -> Result:
        """Looks at the images of a stretch."""
        look = Look()
        bad: list[int] = []
        reasons: list[str] = []
        stretch: Stretch = piece.content
        for first in range(stretch.start, stretch.stop, RECORDS_PER_REPORT):
            positions = range(first, min(first + RECORDS_PER_REPORT, stretch.stop))
            read = self.place.source.read_several(positions)
            for position, record in zip(positions, read, strict=True):
                try:
                    look.add(self.look_at(record))
                except BadImageError as error:
                    bad.append(position)
                    reasons.append(str(error))
            report(len(positions))
        return {"look": asdict(look), "bad": bad, "reasons": reasons}

    def look_at(self, record: Record | BadImageError) -> Look:
        """Looks at an image; raises where it cannot be used, or could not be read."""
        if isinstance(record, BadImageError):
            raise record
        return self.place.inspect(record.image, record.id)

    def is_whole(self, piece: Piece, result: Result) -> bool:
        """Tells that nothing but the result was written."""
        return True


def open_checker(opener: Callable[[], Workplace]) -> Checker:
    """Returns the checker in another process."""
    return Checker(opener())


def check(place: Workplace, records_wanted: int, crew: Crew) -> Checked:
    """Looks at every image before any is written, since which are left out decides on labels."""
    pieces = []
    for start in range(0, records_wanted, RECORDS_PER_CHECK):
        stretch = Stretch(start, min(start + RECORDS_PER_CHECK, records_wanted))
        size = stretch.stop - start
        pieces.append(Piece(name=f"look-{start:09d}", size=size, content=stretch))
    is_usable = np.ones(records_wanted, bool)
    skipped = list(place.source.broken)
    look = Look()
    results = dict(crew.run_all(place.job("checking images", Checker(place), pieces)))
    for number in range(len(pieces)):
        result = results[number]
        is_usable[result["bad"]] = False
        skipped += result["reasons"]
        look.add(Look(**result["look"]))
    labels = place.source.labels[:records_wanted]
    return usable(labels, is_usable, look, skipped)


def unchecked(place: Workplace, records_wanted: int, crew: Crew) -> Checked:
    """Returns all records as usable.

    Each is looked at when it is written, and the first bad one ends the command.
    """
    broken = place.source.broken
    if broken:
        more = f" (the first of {len(broken)})" if len(broken) > 1 else ""
        raise unusable(broken[0] + more)
    labels = place.source.labels[:records_wanted]
    return usable(labels, np.ones(records_wanted, bool), look=None, skipped=[])
