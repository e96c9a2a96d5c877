"""One HTTP request and its answer within a number of seconds, whatever the other side does."""

import http.client
import io
import queue
import socket
import ssl
import threading
import time
from dataclasses import dataclass

from errors import ServingError, error_of, plain

READ_AT_ONCE = 1 << 16


class Deadline:
    """A moment after which nothing is waited for."""

    def __init__(self, seconds: float):
        now = time.monotonic()
        self.end = now + seconds

    def left(self) -> float:
        """Returns the seconds that are left; raises where there are none."""
        seconds = self.end - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds


class DeadlineSocket:
    """A connected socket as http.client uses one, whose every wait is cut at the deadline.

    A socket's own time-out counts anew from each byte that arrives.
    """

    def __init__(self, connected: socket.socket, deadline: Deadline):
        self.connected = connected
        self.deadline = deadline

    def sendall(self, content: bytes) -> None:
        """Sends all bytes."""
        waiting = memoryview(content)
        while waiting:
            self.connected.settimeout(self.deadline.left())
            sent = self.connected.send(waiting[:READ_AT_ONCE])
            waiting = waiting[sent:]

    def makefile(self, mode: str) -> io.BufferedReader:
        """Returns a file of what the other side sends."""
        file = DeadlineFile(self.connected, self.deadline)
        return io.BufferedReader(file)

    def close(self) -> None:
        """Does nothing, for http.client lets go of it before it has read the answer.

        `post` closes what is connected.
        """


class DeadlineFile(io.RawIOBase):
    """What a connected socket receives until the deadline."""

    def __init__(self, connected: socket.socket, deadline: Deadline):
        super().__init__()
        self.connected = connected
        self.deadline = deadline

    def readable(self) -> bool:
        """Tells that it can be read."""
        return True

    def readinto(self, buffer) -> int:
        """Fills the buffer with what has come; returns how many bytes that are."""
        self.connected.settimeout(self.deadline.left())
        return self.connected.recv_into(buffer)


@dataclass(frozen=True)
class Place:
    """Where a server is."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


def post(
    place: Place, path: str, content: bytes, headers: dict[str, str], seconds: float, limit: int
) -> tuple[int, bytes]:
    """Returns the status and the body of the answer.

    No more than `limit` bytes of it are read.
    """
    deadline = Deadline(seconds)
    connection = http.client.HTTPConnection(place.host, place.port)
    try:
        with connected(place, deadline) as opened:
            connection.sock = DeadlineSocket(opened, deadline)
            connection.request("POST", path, content, headers)
            response = connection.getresponse()
            return response.status, body_of(response, limit)
    except TimeoutError:
        raise error_of("DEADLINE_EXCEEDED", f"{seconds:.1f} s") from None
    except ssl.SSLCertVerificationError as error:
        raise ServingError(
            f"the server's certificate is not trusted: {plain(error.verify_message)}"
        ) from None
    except ssl.SSLError as error:
        raise ServingError(f"no TLS connection: {plain(error.reason or str(error))}") from None
    except (OSError, http.client.IncompleteRead) as error:
        raise error_of("UNAVAILABLE", str(error) or type(error).__name__) from None
    except (http.client.HTTPException, ValueError) as error:
        raise ServingError(f"what came is no answer in HTTP ({type(error).__name__})") from None


def body_of(response: http.client.HTTPResponse, limit: int) -> bytes:
    """Reads the body of an answer that is neither compressed nor longer than `limit`."""
    if 300 <= response.status < 400:
        raise ServingError(
            f"the server sends to another address (HTTP {response.status}), which is not followed"
        )
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity":
        raise ServingError("the answer is compressed, which was not asked for")
    claimed = response.length
    if claimed is not None and claimed > limit:
        raise too_long(limit)
    body = bytearray()
    while claimed is None or len(body) < claimed:
        chunk = response.read1(READ_AT_ONCE)
        if not chunk:
            break
        body += chunk
        if len(body) > limit:
            raise too_long(limit)
    if claimed is not None and len(body) < claimed:
        raise error_of("UNAVAILABLE", "the connection was closed within the answer")
    return bytes(body)


def too_long(limit: int) -> ServingError:
    """Returns the error of an answer that is too long."""
    return ServingError(
        f"the answer has more than the {limit:,} bytes that one to this request can have"
    )


def connected(place: Place, deadline: Deadline) -> socket.socket:
    """Returns a socket that is connected to the first of a server's addresses that answers."""
    failure: OSError = OSError("no address")
    for family, kind, protocol, _, address in addresses(place, deadline):
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(deadline.left())
            made.connect(address)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.settimeout(deadline.left())
            if place.tls:
                return place.tls.wrap_socket(made, server_hostname=place.host)
            return made
        except OSError as error:
            made.close()
            if isinstance(error, TimeoutError | ssl.SSLError):
                raise
            failure = error
    raise failure


def addresses(place: Place, deadline: Deadline) -> list[tuple]:
    """Asks for the host's addresses beside this thread: a name server may never answer."""
    found: queue.Queue[list[tuple] | OSError] = queue.Queue()

    def ask() -> None:
        try:
            found.put(socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.put(error)
        except UnicodeError:  # a name that no name server is asked for
            found.put(OSError(f"{place.host} is no name of a host"))

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = found.get(timeout=deadline.left())
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, OSError):
        raise answer
    return answer
