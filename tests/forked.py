"""Starts Python programs, the commands above all, without a fresh start of TensorFlow for each.

A start of TensorFlow takes three seconds of a core. So one process, the parent, imports it with
Keras and the package, does nothing else with them, and forks for each program. The fork then runs
the program as `python` would: with its own arguments, folder, environment, output and errors, and
with a number to signal.

    forked.run("-m", "bct_keras.train", "--help")       # as subprocess.run: returncode, stdout,
    stderr forked.start("-m", "bct_keras.train", "--help")     # as subprocess.Popen

A program that starts `sys.executable` itself, as a benchmark starts its trainings, gets forks too
(forked_python.py).

What the parent has imported cannot be chosen by the program: it is for programs that import
TensorFlow with the settings of bct_keras/__init__.py. TensorFlow starts its devices and threads at
its first use, not at its import, and each fork uses it for itself.
"""

import atexit
import contextlib
import dataclasses
import functools
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

import forked_python

ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Program:
    """What `python` would be given: arguments that begin with "-m NAME" or with a script's path."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]


class Started:
    """A program that runs, with as much of the face of `subprocess.Popen` as tests need."""

    def __init__(self, connection: socket.socket, stdout: IO[str], stderr: IO[str]):
        self.connection = connection
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self.pid = forked_python.told(connection)

    def poll(self) -> int | None:
        """Returns the exit status, or None while the program runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(timeout=0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Returns the exit status when the program has ended: minus the signal's number where one
        ended it.
        """
        if self.returncode is None:
            ready, _, _ = select.select([self.connection], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = forked_python.told(self.connection)
            self.connection.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Returns the rest of output and errors, when all that write to them have ended."""
        texts = ["", ""]

        def read(place: int, stream: IO[str]) -> None:
            texts[place] = stream.read()
            stream.close()

        streams = (self.stdout, self.stderr)
        readers = [
            threading.Thread(target=read, args=each, daemon=True) for each in enumerate(streams)
        ]
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


def start(
    *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Started:
    """Starts a program as `python ARGUMENTS` would, from a folder and with an environment or this
    process's own.
    """
    stdout, its_stdout = os.pipe()
    stderr, its_stderr = os.pipe()
    program = {
        "arguments": [str(each) for each in arguments],
        "folder": str(cwd or Path.cwd()),
        "environment": dict(os.environ if env is None else env),
    }
    connection = forked_python.ask(parent().place, program, (its_stdout, its_stderr))
    os.close(its_stdout)
    os.close(its_stderr)
    return Started(connection, os.fdopen(stdout), os.fdopen(stderr))


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


@dataclasses.dataclass(frozen=True)
class Parent:
    """The process that imports TensorFlow and forks; it ends with this one, whose end closes its
    standard input.
    """

    process: subprocess.Popen
    place: str  # of the socket that it listens at


@functools.cache
def parent() -> Parent:
    folder = Path(tempfile.mkdtemp(prefix="forked-"))
    place = folder / "socket"
    python = folder / "python"
    python.write_text(
        f'#!/bin/sh\nexec {sys.executable} -IS {forked_python.__file__} {place} "$@"\n'
    )
    python.chmod(0o700)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, __file__, str(place), str(python)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    process.stdout.readline()  # it listens now
    return Parent(process, str(place))


def serve(listener: socket.socket, python: str) -> None:
    """What the parent does: a keeper for each program, which forks once more for it and waits."""
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            keep(connection, python)
        connection.close()
        reap()


def reap() -> None:
    """Takes leave of keepers that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def keep(connection: socket.socket, python: str) -> NoReturn:
    """Tells the number of the program's process, and how it has ended."""
    program, descriptors = forked_python.asked(connection)
    process = os.fork()
    if not process:
        connection.close()
        sys.executable = python
        become(Program(**program), descriptors)
    for descriptor in descriptors:
        os.close(descriptor)  # else the reader would wait for this process too
    forked_python.tell(connection, process)
    _, status = os.waitpid(process, 0)
    forked_python.tell(connection, os.waitstatus_to_exitcode(status))
    os._exit(0)


def become(program: Program, descriptors: Sequence[int]) -> NoReturn:
    """Runs the program in this process, and ends it without TensorFlow's own end, which takes a
    second.
    """
    for standard, descriptor in zip((1, 2), descriptors, strict=True):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
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
        # `python -m` too runs it as __main__, and not what others import by its name.
        main = f"{name}.__main__"
        sys.modules.pop(main if main in sys.modules else name, None)
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
    place, python = sys.argv[1:]
    # What the commands import when their flags are read.
    from bct_keras.benchmark import run as benchmark  # noqa: F401
    from bct_keras.embed import run as embed  # noqa: F401
    from bct_keras.evaluate import run as evaluate  # noqa: F401
    from bct_keras.explain import run as explain  # noqa: F401
    from bct_keras.export import run as export  # noqa: F401
    from bct_keras.gallery import run as gallery  # noqa: F401
    from bct_keras.prepare import run as prepare  # noqa: F401
    from bct_keras.train import run as train  # noqa: F401

    sys.path.remove(str(Path(__file__).parent))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen(100)
        print("ready", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            serve(listener, python)
    shutil.rmtree(Path(place).parent)
    os._exit(0)


if __name__ == "__main__":
    main()
