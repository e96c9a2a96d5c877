"""What does the pieces of a job: another engine is one more file, and a line in `ENGINES`."""

from abc import ABC, abstractmethod

from bct_keras.engines.work import Job, Result


class Engine(ABC):
    """Does pieces on some processes, of whatever machines."""

    @abstractmethod
    def run(self, job: Job) -> list[Result]:
        """Returns the results of all pieces, in their order.

        It shows a bar, and raises InputError where a piece cannot be done, with the reason.
        """
