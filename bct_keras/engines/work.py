"""Work in pieces: each is read, done, written beside its place and committed by its result's file.

A piece that is done twice, or again after a kill, changes nothing: it writes the same bytes to the
same places. So any engine may start any piece at any time.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from bct_keras import artefacts, stores
from bct_keras.errors import InputError
from bct_keras.untrusted.json_files import read_object

Report = Callable[[int], object]
# What a piece has come to, as JSON: it is kept in a file, which says that the piece is done.
Result = dict[str, Any]


@dataclass(frozen=True)
class Piece:
    """So much work as a process does at a time, mostly that of a shard."""

    name: str  # its own in the job
    size: int  # how many images, or whatever the job counts
    content: Any  # what the worker has to know; it can be pickled


class Pieces(Sequence[Piece]):
    """Pieces that are made when they are asked for, so that a million of them take no memory."""

    @property
    def size(self) -> int:
        """Returns how many images they have."""
        return sum(piece.size for piece in self)


class Worker(Protocol):
    """Does pieces. Each process has one, with an encoder or a source that was opened once."""

    def opener(self) -> Callable[[], "Worker"]:
        """Returns what opens the same worker in another process, perhaps on another machine.

        It is sent there, and so are its arguments: plain values and paths.
        """
        ...

    def do(self, piece: Piece, report: Report) -> Result:
        """Does a piece and returns what it has come to; reports how many images it has done."""
        ...

    def is_whole(self, piece: Piece, result: Result) -> bool:
        """Tells whether what an earlier command has written for a piece is still there."""
        ...


@dataclass(frozen=True)
class Job:
    """Pieces, what does them, and where the file of each result lies."""

    what: str  # in the bar
    worker: Worker
    pieces: Sequence[Piece]
    results: Path
    forks: bool = True  # whether a process that is forked can do it: not where TensorFlow is used
    worth_a_process: int = 1  # so many images are worth one process more

    def with_pieces(self, pieces: Sequence[Piece]) -> "Job":
        """Returns the same job, of these pieces alone."""
        return Job(
            what=self.what,
            worker=self.worker,
            pieces=pieces,
            results=self.results,
            forks=self.forks,
            worth_a_process=self.worth_a_process,
        )

    @cached_property
    def size(self) -> int:
        """Returns how many images all pieces have."""
        if isinstance(self.pieces, Pieces):
            return self.pieces.size
        return sum(piece.size for piece in self.pieces)

    def read_results(self) -> Iterator[tuple[int, Result]]:
        """Yields (number of the piece, its result) of all pieces; all have to be done."""

        def read(name: str) -> Result:
            return read_object(self.results / f"{name}.json")

        names = (piece.name for piece in self.pieces)
        yield from enumerate(stores.mapped(self.results, read, names))


def finish(worker: Worker, results: Path, piece: Piece, report: Report) -> Result:
    """Returns the result of a piece, which is done unless it was done before."""
    path = results / f"{piece.name}.json"
    found = read_before(path)
    if found is not None and worker.is_whole(piece, found):
        report(piece.size)
        return found
    found = worker.do(piece, report)
    with artefacts.placing(path) as partial:
        partial.write_text(json.dumps(found))
    return found


def read_before(path: Path) -> Result | None:
    """Returns an earlier result; None where there is none, or a power cut has taken it."""
    with contextlib.suppress(InputError):
        return read_object(path)
    return None


def report_nothing(count: int) -> None:
    """Takes reports that nobody hears: other processes tell a whole piece when it is done."""
