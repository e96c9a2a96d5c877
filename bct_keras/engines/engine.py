"""What does the pieces of a job: another engine is one more file, and a line in `ENGINES`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from bct_keras.engines.work import Job, Result


class Engine(ABC):
    """Does pieces on some processes, of whatever machines."""

    @abstractmethod
    def results(self, job: Job) -> Iterator[tuple[int, Result]]:
        """Does all pieces; yields (number of the piece, its result) as each is done.

        It shows a bar, and raises InputError where a piece cannot be done, with the reason. No
        result is kept: of a million pieces they take a gigabyte.
        """

    def run(self, job: Job) -> None:
        """Does all pieces, for what they write alone."""
        for _ in self.results(job):
            pass
