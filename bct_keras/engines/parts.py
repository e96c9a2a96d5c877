"""A part of the work, `3/64`, for any scheduler that starts the same command many times."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bct_keras.engines.work import Piece
from bct_keras.errors import InputError, option

PART = re.compile(r"(\d{1,7})/(\d{1,7})")


@dataclass(frozen=True)
class Part:
    """One of so many parts of the work.

    Schedulers number the tasks of an array from 0 or from 1, and either may be given: 0/64 is the
    same part as 64/64.
    """

    number: int
    count: int

    def own(self, pieces: Sequence[Any]) -> Sequence[Any]:
        """Returns the pieces of this part, or their numbers where these are given."""
        return pieces[self.number % self.count :: self.count]

    def own_first(self, pieces: Sequence[Piece]) -> Iterator[Piece]:
        """Yields all pieces: those of this part, then those of the parts after it, around."""
        for step in range(self.count):
            yield from Part(self.number + step, self.count).own(pieces)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_part(text: str | None) -> Part | None:
    """Returns the part that a flag says, or None for all of the work."""
    if not text:
        return None
    match = PART.fullmatch(text)
    part = Part(int(match[1]), int(match[2])) if match else Part(1, 0)
    if not 0 <= part.number <= part.count or not part.count:
        raise InputError(
            f"{option('part', text)}: a part is NUMBER/COUNT, such as 3/64, with a number from 1 "
            "to the count, or from 0 to one below it"
        )
    return part
