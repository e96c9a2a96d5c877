"""Stands for `python` in programs that forked.py has started: what they start so becomes a fork
too.

python -IS tests/forked_python.py SOCKET ARGUMENTS           with nothing but small modules, so that
it starts at once

It asks the process that listens at SOCKET, hands on SIGTERM and SIGINT, and ends as the program
does. What is not started by -m gets the real Python.
"""

import contextlib
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any

NUMBER = struct.Struct("<i")


def ask(place: str, program: dict[str, Any], descriptors: Sequence[int]) -> socket.socket:
    """Asks for a program with these for its output and errors; first its process is told, then how
    it ended.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(place)
    content = json.dumps(program).encode()
    socket.send_fds(connection, [NUMBER.pack(len(content))], descriptors)
    connection.sendall(content)
    return connection


def asked(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Reads what `ask` has sent."""
    head, descriptors, _, _ = socket.recv_fds(connection, NUMBER.size, 2)
    (length,) = NUMBER.unpack(head)
    return json.loads(received(connection, length)), descriptors


def tell(connection: socket.socket, number: int) -> None:
    """Sends a number to whoever asked, if that has not ended."""
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(NUMBER.pack(number))


def told(connection: socket.socket) -> int:
    """Waits for a number that `tell` sends."""
    (number,) = NUMBER.unpack(received(connection, NUMBER.size))
    return number


def received(connection: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length:
        piece = connection.recv(length - len(content))
        if not piece:
            raise EOFError("the process that forks has ended")
        content += piece
    return content


def main() -> None:
    place, *arguments = sys.argv[1:]
    if arguments[:1] != ["-m"]:  # no command of ours: a script that wants a Python of its own
        os.execv(sys.executable, [sys.executable, *arguments])
    program = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    connection = ask(place, program, (1, 2))
    process = told(connection)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(process, number))
    status = told(connection)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    main()
