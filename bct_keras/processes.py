"""Work divided over processes."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from bct_keras.errors import InputError, UnfinishedError, option

Task = TypeVar("Task")
Result = TypeVar("Result")
Work = Callable[[Task, Callable[[int], object]], Result]


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    work: Work[Task, Result],
    tasks: Sequence[Task],
    processes: int,
    progressed: Callable[[int], object],
) -> Iterator[tuple[int, Result]]:
    """(number of the task, result) as each is done, by `work(task, report)`; what it reports goes to `progressed`.

    The processes are forked, so they share what this one has read and are there at once. They hold no lock, and
    stop at their next report when this one is killed.
    """
    processes = min(processes, len(tasks))
    if processes < 2:
        for number, task in enumerate(tasks):
            yield number, work(task, progressed)
        return
    started: dict[Connection, BaseProcess] = {}
    try:
        for _ in range(processes):
            start(work, tasks, started)
        yield from results(started, len(tasks), progressed)
    finally:
        for process in started.values():
            process.kill()  # not SIGTERM, for which a trainer's handler may have been inherited
            process.join()


def start(work: Work, tasks: Sequence, started: dict[Connection, BaseProcess]) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(
        target=serve, args=(work, tasks, theirs, [ours, *started]), daemon=True
    )
    process.start()
    theirs.close()
    started[ours] = process


def serve(work: Work, tasks: Sequence, connection: Connection, inherited: list[Connection]) -> None:
    """What a process does: the tasks whose numbers it is sent."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # the first process gets it too and ends the others
    for (
        other
    ) in inherited:  # open here, they would hide from the others that the first process is gone
        other.close()

    def report(count: int) -> None:
        connection.send(("progress", count))

    try:
        while True:
            number = connection.recv()
            connection.send(("done", (number, work(tasks[number], report))))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except (InputError, OSError) as error:
        connection.send(("refused", error))
    except Exception:
        connection.send(("failed", traceback.format_exc()))


def results(
    started: dict[Connection, BaseProcess], tasks: int, progressed: Callable[[int], object]
) -> Iterator[tuple[int, Any]]:
    waiting = iter(range(tasks))
    for connection in started:
        connection.send(next(waiting))
    done = 0
    while done < tasks:
        for connection in multiprocessing.connection.wait(list(started)):
            assert isinstance(connection, Connection)
            kind, content = received(connection)
            if kind == "progress":
                progressed(content)
                continue
            following = next(waiting, None)
            if following is not None:
                connection.send(following)
            done += 1
            yield content


def received(connection: Connection) -> tuple[str, Any]:
    try:
        kind, content = connection.recv()
    except (EOFError, ConnectionResetError):
        raise UnfinishedError(
            "one of the processes was killed, perhaps because memory ran out; the same command goes on where this one "
            f"stopped, and {option('processes', 1)} takes the least memory"
        ) from None
    if kind == "refused":
        raise content
    if kind == "failed":
        raise RuntimeError(f"in another process:\n{content}")
    return kind, content
