"""The processes of this machine."""

import itertools
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path

from bct_keras import processes, progress, stores
from bct_keras.engines.engine import Engine
from bct_keras.engines.work import Job, Piece, Report, Result, Worker, finish, report_nothing
from bct_keras.errors import InputError, option

AHEAD = 4  # pieces for each process that wait in its queue, or are being done


class Local(Engine):
    """Does the pieces by processes of this machine.

    Args:
        processes: How many. 0 is one for each core where the work is Python's; an encoder uses all
            cores from one process, and more of them are loaded only where a number is given.
    """

    def __init__(self, processes: int = 0):
        if processes < 0:
            raise InputError(f"processes={processes} has to be 0 or more")
        self.processes = processes

    def count(self, job: Job) -> int:
        """Returns how many processes a job is worth."""
        asked = self.processes or (processes.cores() if job.forks else 1)
        return max(min(asked, job.size // job.worth_a_process, len(job.pieces)), 1)

    def results(self, job: Job) -> Iterator[tuple[int, Result]]:
        """Does all pieces; yields (number of the piece, its result) as each is done."""
        stores.make_folder(job.results)
        count = self.count(job)
        with progress.bar(job.what, job.size) as bar:
            if count > 1 and not job.forks:
                yield from run_spawned(job, count, bar.update)
                return

            def work(piece: Piece, report: Report) -> Result:
                return finish(job.worker, job.results, piece, report)

            yield from processes.run(work, job.pieces, count, bar.update)


def local_processes(engine: Engine, what: str) -> int:
    """Returns how many processes of this machine are asked for; raises for another engine."""
    if not isinstance(engine, Local):
        raise InputError(f"{what} runs on this machine alone: leave out {option('engine')}")
    return engine.processes


def run_spawned(job: Job, count: int, progressed: Report) -> Iterator[tuple[int, Result]]:
    """Does all pieces by processes that begin anew, each with its own worker.

    Yields (number of the piece, its result) as each is done.
    """
    context = multiprocessing.get_context("spawn")
    begun = (job.worker.opener(), job.results)
    numbers = iter(range(len(job.pieces)))
    with ProcessPoolExecutor(count, context, initializer=begin, initargs=begun) as pool:
        try:
            waiting: dict[Future, int] = {}
            while True:
                for number in itertools.islice(numbers, count * AHEAD - len(waiting)):
                    waiting[pool.submit(finish_here, job.pieces[number])] = number
                if not waiting:
                    return
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    number = waiting.pop(future)
                    result = result_of(future)
                    progressed(job.pieces[number].size)
                    yield number, result
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def result_of(future: Future) -> Result:
    """Returns the result of a piece; raises where one of the processes was killed."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise processes.one_was_killed() from None


# Of a process of the pool.
_begun: tuple[Callable[[], Worker], Path]


def begin(opener: Callable[[], Worker], results: Path) -> None:
    """Prepares a process of the pool."""
    global _begun
    _begun = (opener, results)


@cache
def opened() -> Worker:
    """Opens the worker of this process, at its first piece: a fault then comes back as an error."""
    opener, _ = _begun
    return opener()


def finish_here(piece: Piece) -> Result:
    """Does a piece in a process of the pool."""
    _, results = _begun
    return finish(opened(), results, piece, report_nothing)
