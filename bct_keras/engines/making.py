"""Makes a folder piece by piece: the whole of it, or a part of it beside others who make theirs.

Of the parts whoever finishes last commits, so that no part waits for another, and any number of
them may run at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bct_keras import artefacts, stores
from bct_keras.engines.engine import Engine
from bct_keras.engines.local import Local
from bct_keras.engines.part_results import do_part, missing_parts, results_of_parts
from bct_keras.engines.parts import Part
from bct_keras.engines.work import Job, Piece, Result
from bct_keras.errors import UnfinishedError

RESULTS = ".results"  # in a folder that is being made: a file for each piece that is done


@dataclass(frozen=True)
class Crew:
    """What does the work, and which part of it this command is to do: None is all."""

    engine: Engine
    part: Part | None = None

    @property
    def looks_at_each_piece(self) -> bool:
        """Tells whether each piece is looked at in its turn, or all of them before the first."""
        return self.part is not None or not isinstance(self.engine, Local)

    def run_all(self, job: Job) -> Iterator[tuple[int, Result]]:
        """Yields (number of the piece, its result) of all pieces, whatever part this is.

        For what has to be known before the work can be divided. A part does its own pieces first
        and then those that no other has done yet, so that it waits for nobody.
        """
        if self.part is None:
            yield from self.engine.results(job)
            return
        self.engine.run(job.with_pieces(self.part.own(job.pieces)))
        for piece in self.part.own_first(job.pieces):
            if stores.size_of(job.results / f"{piece.name}.json") is None:
                self.engine.run(job.with_pieces([piece]))
        yield from job.read_results()


class Product(Protocol):
    """A folder that is made piece by piece."""

    kind: str
    made_from: dict[str, Any]

    def plan(self, folder: Path, crew: Crew) -> Job:
        """Returns the job that fills the folder."""
        ...

    def check_before(self) -> None:
        """Raises where the whole work would be in vain; a part looks at its own pieces alone."""
        ...

    def commit(self, folder: Path, results: Iterable[tuple[int, Result]]) -> None:
        """Writes what is about all pieces, and the manifest as the last; but nothing twice.

        The results come in any order, each with its piece's number, and are taken before anything
        is written. A file that is there in a folder with a manifest stays as it is.
        """
        ...

    def lost(self, out: Path) -> list[str]:
        """Returns the files that its manifest names and that are gone or cut off."""
        ...

    def results_of(self, out: Path, pieces: Sequence[Piece]) -> Iterator[Result]:
        """Yields the result of each piece, as the manifest tells it."""
        ...

    def is_same(self, found: Result, expected: Result) -> bool:
        """Tells whether a piece that was done again has come to the same bytes."""
        ...

    def is_there(self, out: Path, piece: Piece, result: Result) -> bool:
        """Tells whether all files of a piece are there, as far as their sizes tell."""
        ...


@dataclass(frozen=True)
class Made:
    """What a command has come to.

    That is `written`, `there` (it was up to date), `mended` or `part` (of it is done).
    """

    state: str
    left: int = 0  # how many other parts are to be done, as far as is known
    mended: Sequence[str] = ()  # files that were lost and are there again

    def told(self, out: object, part: Part | None) -> str:
        """Returns what is said of the folder."""
        if self.state == "part":
            still = f"{self.left:,} other parts are still to be done"
            if self.left == 1:
                still = "one other part is still to be done"
            elif not self.left:
                still = "others are still at work"
            return f"part {part} of {out} is done; {still}, and whoever finishes last commits"
        if self.state == "mended":
            more = f" and {len(self.mended) - 1:,} more" if len(self.mended) > 1 else ""
            return f"{out} mended, {self.mended[0]}{more} made anew"
        return f"{out} {'written' if self.state == 'written' else 'is up to date'}"


def make(out: Path, product: Product, engine: Engine | None, part: Part | None = None) -> Made:
    """Makes a folder where it is not there yet, or a part of it."""
    crew = Crew(engine or Local(), part)
    restored = artefacts.restore(out)
    if product.lost(out):
        return mend(out, product, crew, restored)
    made = make_whole(out, product, crew) if part is None else make_part(out, product, crew)
    if made.state != "part":  # of parts, when their folder is in place
        stores.remove_folder(out / RESULTS)
    return Made("mended", mended=restored) if restored else made


def mend(out: Path, product: Product, crew: Crew, restored: Sequence[str]) -> Made:
    """Makes the files anew that were lost, and no other; some were restored before."""
    with artefacts.mending(out):
        lost = product.lost(out)
        job = product.plan(out, crew)
        pieces = []
        expected = []
        for piece, result in zip(job.pieces, product.results_of(out, job.pieces), strict=True):
            if not product.is_there(out, piece, result):
                pieces.append(piece)
                expected.append(result)
        stores.remove_folder(job.results)  # of an earlier command that was killed
        for number, found in crew.engine.results(job.with_pieces(pieces)):
            if not product.is_same(found, expected[number]):
                raise UnfinishedError(
                    f"{out}: {pieces[number].name} was lost, and comes out otherwise than it was "
                    "(another machine or version may have made it); remove the folder and make it "
                    "anew"
                )
        product.commit(out, enumerate(product.results_of(out, job.pieces)))
        stores.remove_folder(job.results)
    mended = [*restored, *lost]
    return Made("mended" if mended else "there", mended=mended)


def make_whole(out: Path, product: Product, crew: Crew) -> Made:
    """Does all pieces and commits."""
    with artefacts.filling(out, product.kind, product.made_from) as folder:
        if folder is None:
            return Made("there")
        if not crew.looks_at_each_piece:
            product.check_before()
        product.commit(folder, crew.run_all(product.plan(folder, crew)))
        stores.remove_folder(folder / RESULTS)
    return Made("written")


def make_part(out: Path, product: Product, crew: Crew) -> Made:
    """Does the pieces of a part, and commits where nobody else is at work and all are done."""
    assert crew.part is not None
    with artefacts.filling_together(out, product.kind, product.made_from) as folder:
        if folder is None:
            return Made("there")
        job = product.plan(folder, crew)
        do_part(crew.part, crew.engine, job)
        missing = missing_parts(crew.part.count, job)
    if missing:
        return Made("part", missing)
    with artefacts.last_of_all(out, product.kind, product.made_from) as folder:
        if folder is None:
            there = artefacts.is_current(out, product.kind, product.made_from)
            return Made("there" if there else "part")
        product.commit(folder, results_of_parts(crew.part.count, job))
        if stores.is_remote(out):
            stores.remove_folder(out / RESULTS)
    return Made("written")
