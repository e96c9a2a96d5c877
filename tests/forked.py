"""Starts Python programs, the commands above all, without a fresh start of TensorFlow for each.

A start of TensorFlow takes three seconds of a core. So one process, the parent, imports it with Keras and the
package, does nothing else with them, and forks for each program. The fork then runs the program as
`python` would: with its own arguments, folder, environment, output and errors, and with a number to signal.

    forked.run("-m", "bct_keras.train", "--help")       # as subprocess.run: returncode, stdout, stderr
    forked.start("-m", "bct_keras.train", "--help")     # as subprocess.Popen

What the parent has imported cannot be chosen by the program: it is for programs that import TensorFlow with the
settings of bct_keras/__init__.py. TensorFlow starts its devices and threads at its first use, not at its import,
and each fork uses it for itself.
"""

import atexit
import dataclasses
import functools
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, NoReturn

ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Program:
    """What `python` would be given: arguments that begin with "-m NAME" or with a script's path."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]


class Started:
    """A program that runs, with as much of the face of `subprocess.Popen` as tests need."""

    def __init__(self, connection: Connection, stdout: IO[str], stderr: IO[str]):
        self.connection = connection
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self.pid: int = connection.recv()

    def poll(self) -> int | None:
        """Returns the exit status, or None while the program runs."""
        if self.returncode is None and self.connection.poll():
            self.returncode = self.connection.recv()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Returns the exit status when the program has ended: minus the signal's number where one ended it."""
        if self.returncode is None and not self.connection.poll(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        self.poll()
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Returns the rest of output and errors when all processes that write to them have ended."""
        texts = ["", ""]

        def read(place: int, stream: IO[str]) -> None:
            texts[place] = stream.read()
            stream.close()

        streams = (self.stdout, self.stderr)
        readers = [threading.Thread(target=read, args=each, daemon=True) for each in enumerate(streams)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        self.wait(timeout)
        return texts[0], texts[1]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(*arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Started:
    """Starts a program as `python ARGUMENTS` would, from a folder and with an environment or this process's own."""
    environment = dict(os.environ if env is None else env)
    program = Program([str(each) for each in arguments], str(cwd or Path.cwd()), environment)
    ours, theirs = multiprocessing.Pipe()
    stdout, its_stdout = os.pipe()
    stderr, its_stderr = os.pipe()
    given = [theirs.fileno(), its_stdout, its_stderr]
    _, requests = parent()
    socket.send_fds(requests, [b"+"], given)
    for descriptor in (its_stdout, its_stderr):
        os.close(descriptor)
    theirs.close()
    ours.send(dataclasses.asdict(program))
    return Started(ours, os.fdopen(stdout), os.fdopen(stderr))


def run(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end."""
    started = start(*arguments, cwd=cwd, env=env)
    try:
        stdout, stderr = started.communicate(timeout)
    except subprocess.TimeoutExpired:
        started.kill()
        raise
    return subprocess.CompletedProcess(arguments, started.wait(), stdout, stderr)


@functools.cache
def parent() -> tuple[subprocess.Popen, socket.socket]:
    """Starts the process that imports TensorFlow and forks; it ends with this one, when the socket closes."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, __file__, str(theirs.fileno())]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, stdin=nowhere, stdout=nowhere)
    theirs.close()
    return process, ours


def serve(requests: socket.socket) -> None:
    """What the parent does: a keeper for each program, which forks once more for it and waits."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1, 3)
        if not message:
            return
        if not os.fork():
            requests.close()
            keep(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        reap()


def reap() -> None:
    """Takes leave of keepers that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def keep(connection: int, stdout: int, stderr: int) -> NoReturn:
    """Tells the number of the program's process, and how it has ended."""
    with Connection(connection) as told:
        program = Program(**told.recv())
        process = os.fork()
        if not process:
            told.close()
            become(program, stdout, stderr)
        os.close(stdout)  # else the reader would wait for this process too
        os.close(stderr)
        told.send(process)
        _, status = os.waitpid(process, 0)
        told.send(os.waitstatus_to_exitcode(status))
    os._exit(0)


def become(program: Program, stdout: int, stderr: int) -> NoReturn:
    """Runs the program in this process, and ends it without TensorFlow's own end, which takes a second."""
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.close(stdout)
    os.close(stderr)
    os.chdir(program.folder)
    os.environ.clear()
    os.environ.update(program.environment)
    status = 1
    try:
        execute(program)
        status = 0
    except SystemExit as ended:
        status = exit_status(ended.code)
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def execute(program: Program) -> None:
    first, *others = program.arguments
    if first == "-m":
        name, *arguments = others
        sys.modules.pop(name, None)  # `python -m` too runs it as __main__, and not what others import by its name
        sys.argv = [name, *arguments]
        sys.path.insert(0, program.folder)
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        sys.argv = program.arguments
        sys.path.insert(0, str(Path(first).parent))
        runpy.run_path(first, run_name="__main__")


def exit_status(code: int | str | None) -> int:
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)
    return 1


def main() -> None:
    from bct_keras import benchmark, embed, evaluate, explain, export, gallery, prepare, train  # noqa: F401

    sys.path.remove(str(Path(__file__).parent))
    requests = socket.socket(fileno=int(sys.argv[1]))
    serve(requests)


if __name__ == "__main__":
    main()
