"""Work divided over processes."""

import contextlib
import itertools
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from bct_keras.errors import InputError, UnfinishedError, option

Task = TypeVar("Task")
Result = TypeVar("Result")
Work = Callable[[Task, Callable[[int], object]], Result]
SECONDS_BETWEEN_REPORTS = 0.1
TASKS_AHEAD = 4096  # that wait for a process: of a million all at once take a gigabyte
# Tasks and work are inherited and not sent: they need not be pickled, and what this process has
# read is shared.
FORK = multiprocessing.get_context("fork")


def cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(
    work: Work[Task, Result],
    tasks: Sequence[Task],
    processes: int,
    progressed: Callable[[int], object],
) -> Iterator[tuple[int, Result]]:
    """Yields (number of the task, result) as each task is done, by `work(task, report)`.

    What `work` reports is added up and goes to `progressed`. The processes are forked. Where this
    one is killed they stop at their next report; where the caller takes no more results, at once.
    """
    processes = min(processes, len(tasks))
    if processes < 2:
        for number, task in enumerate(tasks):
            yield number, work(task, progressed)
        return
    watched, held = FORK.Pipe(duplex=False)
    shared = Shared(
        work=work,
        tasks=tasks,
        reported=FORK.Value("q", 0),
        at_once=FORK.RawValue("b", 0),
        watched=watched,
        held=held,
    )
    pool = ProcessPoolExecutor(processes, FORK, initializer=begin, initargs=(shared,))
    try:
        yield from results(pool, shared, progressed)
        pool.shutdown()
    finally:
        shared.at_once.value = 1
        held.close()  # ends those processes that are still there
        pool.shutdown(cancel_futures=True)
        watched.close()


@dataclass(frozen=True)
class Shared:
    """What each process inherits."""

    work: Work
    tasks: Sequence
    reported: Any  # a counter that all processes add to
    at_once: Any  # whether they end at once, should `watched` end
    watched: Connection  # ends when `held` is closed, or the first process is gone
    held: Connection

    def count_reported(self) -> int:
        """Returns how much all processes have reported."""
        return self.reported.get_obj().value  # without its lock, which a killed process may hold


def results(
    pool: ProcessPoolExecutor, shared: Shared, progressed: Callable[[int], object]
) -> Iterator[tuple[int, Any]]:
    """Yields (number of the task, result) as each task is done."""
    finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
    numbers = iter(range(len(shared.tasks)))

    def submit(count: int) -> None:
        for number in itertools.islice(numbers, count):
            pool.submit(do, number).add_done_callback(finished.put)

    submit(TASKS_AHEAD)
    told = 0
    left = len(shared.tasks)
    while left:
        try:
            future = finished.get(timeout=SECONDS_BETWEEN_REPORTS)
        except queue.Empty:
            future = None
        count = shared.count_reported()
        if count > told:
            progressed(count - told)
            told = count
        if future:
            left -= 1
            submit(1)
            yield result_of(future)


def result_of(future: Future) -> tuple[int, Any]:
    """Returns the result of a task; raises where one of the processes was killed."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise one_was_killed() from None


def one_was_killed() -> UnfinishedError:
    """Returns the error of a process that has ended before its work did."""
    least = option("engine", "local(processes=1)")
    return UnfinishedError(
        "one of the processes was killed, perhaps because memory ran out; the same command goes on "
        f"where this one stopped, and {least} takes the least memory"
    )


# Of a process of the pool.
_inherited: Shared
_at_work = threading.Lock()
_first_is_gone = threading.Event()


def begin(shared: Shared) -> None:
    """Prepares a process of the pool."""
    global _inherited
    _inherited = shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process gets it too, and ends this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a trainer's handler may have been inherited
    shared.held.close()  # open here, it would hide that the first process is gone
    threading.Thread(target=end_with_first, args=(shared.watched,), daemon=True).start()


def end_with_first(watched: Connection) -> None:
    """Ends this process when the first one has closed its end or is gone."""
    with contextlib.suppress(EOFError, OSError):
        watched.recv()
    if _inherited.at_once.value:
        os._exit(1)
    _first_is_gone.set()
    with _at_work:  # else at the next report
        os._exit(1)


def do(number: int) -> tuple[int, Any]:
    """Does one task in a process of the pool."""
    shared = _inherited
    try:
        with _at_work:
            return number, shared.work(shared.tasks[number], report)
    except (InputError, OSError):
        raise
    except Exception:
        raise RuntimeError(f"in another process:\n{traceback.format_exc()}") from None


def report(count: int) -> None:
    """Adds to what is reported, in a process of the pool; ends it where the first one is gone."""
    if _first_is_gone.is_set():
        os._exit(1)
    with _inherited.reported.get_lock():
        _inherited.reported.value += count
