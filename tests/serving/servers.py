"""Starts servers here that answer a client whatever a test wants.

They speak over a raw socket, or by gRPC.
"""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TLS = Path(__file__).parents[1] / "golden" / "tls"
IMAGES = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]  # which no server here looks at
DIMS = 4
ROWS = [[1.0, 0, 0, 0], [0, 0.6, -0.8, 0]]
# What is said of an answer to two images, however it came.
LENGTH = r"embedding 1 of the answer has length .*, and not 1"
SHAPE = r"the answer to 2 images has embeddings of shape"
IN_TIME = 1.5  # seconds that a busy machine may take beyond the time-out


@contextlib.contextmanager
def raw_server(
    serve: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Starts a server whose `serve` is given each connection; yields its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if tls:
                connection = tls.wrap_socket(connection, server_side=True)
            serve(connection)
        connection.close()

    def accept() -> None:
        while not stopped.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        stopped.set()
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)  # ends the thread that waits in accept
        listening.close()


def read_request(connection: socket.socket) -> bytes:
    """Reads a request in HTTP whole, and returns its head.

    So no answer is lost in a reset connection.
    """
    got = b""
    while b"\r\n\r\n" not in got:
        got += received(connection)
    head, _, body = got.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += received(connection)
    return head


def received(connection: socket.socket) -> bytes:
    """Returns what comes next; ends the thread where nothing comes any more."""
    piece = connection.recv(1 << 16)
    if not piece:
        raise ConnectionError("the client has gone")
    return piece


def answering(*parts: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        for part in parts:
            connection.sendall(part)

    return serve


def http(body: bytes | str, status: str = "200 OK", headers: str = "") -> bytes:
    content = body.encode() if isinstance(body, str) else body
    return (
        f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{headers}\r\n".encode() + content
    )


def outputs(**fields: Any) -> bytes:
    return http(json.dumps({"outputs": fields}))


def silent(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


@contextlib.contextmanager
def grpc_server(
    answer: Callable[[bytes, Any], bytes], credentials: Any = None, **options: Any
) -> Iterator[int]:
    grpc = pytest.importorskip("grpc")

    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(2), handlers=[Handler()], **options)
    address = "127.0.0.1:0"
    port = (
        server.add_secure_port(address, credentials)
        if credentials
        else server.add_insecure_port(address)
    )
    server.start()
    try:
        yield port
    finally:
        server.stop(None)


def tensor(wire: Any, dtype: int, shape: list[int], *values: bytes) -> bytes:
    sides = b"".join(wire.field(2, wire.number(1, side)) for side in shape)
    return wire.number(1, dtype) + wire.field(2, sides) + b"".join(values)


def response(wire: Any, **tensors: bytes) -> bytes:
    return b"".join(
        wire.field(1, wire.field(1, name.encode()) + wire.field(2, content))
        for name, content in tensors.items()
    )


def packed(wire: Any, rows: Any) -> bytes:
    return wire.field(5, np.asarray(rows, "<f4").tobytes())
