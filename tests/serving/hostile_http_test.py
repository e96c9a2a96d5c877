"""Tries what a server of HTTP may do to a client.

All of it is refused in a line, in time and in little memory.
"""

import gzip
import socket
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from servers import (
    IMAGES,
    IN_TIME,
    LENGTH,
    ROWS,
    SHAPE,
    answering,
    http,
    outputs,
    raw_server,
    read_request,
    silent,
)


def test_a_sound_answer_is_taken(client_module):
    with raw_server(
        answering(outputs(embedding=ROWS, ok=[True, True], encoder=["a", "a"]))
    ) as port:
        found = client_module.Client(f"http://127.0.0.1:{port}", expect="a").embed(IMAGES)
    np.testing.assert_allclose(found, np.array(ROWS, np.float32))


JSON = r"the answer is no JSON"
NUMBERS = r"has values that are no numbers"
NO_HTTP = r"what came is no answer in HTTP"
ANSWERS = {
    # name: (what is sent, what is said)
    "no JSON": (http("hello"), JSON),
    "nothing": (http(""), JSON),
    "half JSON": (http('{"outputs": [[1.0, 0'), JSON),
    "deep JSON": (http('{"outputs": ' + "[" * 200_000), JSON),
    "deep JSON that is closed": (http('{"outputs": ' + "[" * 90_000 + "]" * 90_000 + "}"), JSON),
    "not UTF-8": (http(b'{"outputs": "\xff\xfe"}'), JSON),
    "a number of 10,000 digits": (
        http('{"outputs": [[%s,0,0,0],[1,0,0,0]]}' % ("9" * 10_000)),
        JSON,
    ),
    "a number of 1,000 digits": (
        http('{"outputs": [[%s,0,0,0],[1,0,0,0]]}' % ("9" * 1000)),
        "too large",
    ),
    "a list": (http("[1, 2]"), "JSON without outputs"),
    "null": (http("null"), "JSON without outputs"),
    "a text": (http('"outputs"'), "JSON without outputs"),
    "no outputs": (http("{}"), "JSON without outputs"),
    "outputs of a number": (http('{"outputs": 3}'), "JSON without outputs"),
    "other outputs": (outputs(scores=ROWS), "gives scores and no 'embedding'"),
    "other outputs with escape codes": (
        http('{"outputs": {"a\\u001b[31m": 1}}'),
        r"gives a\?\[31m and no",
    ),
    "an embedding of text": (outputs(embedding="abc"), "no list of rows"),
    "an embedding of null": (outputs(embedding=None), "no list of rows"),
    "rows of null": (outputs(embedding=[None, None]), "no list of rows"),
    "rows of rows": (outputs(embedding=[ROWS, ROWS]), NUMBERS),
    "texts for numbers": (outputs(embedding=[["1", "0", "0", "0"]] * 2), NUMBERS),
    "true for a number": (outputs(embedding=[[True, 0, 0, 0]] * 2), NUMBERS),
    "null for a number": (outputs(embedding=[[None, 0, 0, 0]] * 2), NUMBERS),
    "rows of different lengths": (outputs(embedding=[ROWS[0], [1.0]]), "rows of different lengths"),
    "one row": (outputs(embedding=ROWS[:1]), SHAPE),
    "three rows": (outputs(embedding=[*ROWS, ROWS[0]]), SHAPE),
    "no rows": (outputs(embedding=[]), SHAPE),
    "empty rows": (outputs(embedding=[[], []]), SHAPE),
    "rows of 10,000": (outputs(embedding=[[1.0] + [0] * 9999] * 2), SHAPE),
    "NaN": (http('{"outputs": [[1,0,0,0],[NaN,0,0,0]]}'), LENGTH),
    "infinity": (http('{"outputs": [[1,0,0,0],[Infinity,0,0,0]]}'), LENGTH),
    "1e400": (http('{"outputs": [[1,0,0,0],[1e400,0,0,0]]}'), LENGTH),
    "1e39, beyond float32": (http('{"outputs": [[1,0,0,0],[1e39,0,0,0]]}'), LENGTH),
    "a row of zeros": (outputs(embedding=[ROWS[0], [0, 0, 0, 0]]), LENGTH),
    "a row of another length": (outputs(embedding=[ROWS[0], [0, 2, 0, 0]]), LENGTH),
    "ok of numbers": (outputs(embedding=ROWS, ok=[1, 1]), "'ok' is no list of bool"),
    "ok of one": (outputs(embedding=ROWS, ok=[True]), "says of 1 whether they were taken"),
    "ok of nothing": (outputs(embedding=ROWS, ok=None), "'ok' is no list of bool"),
    "encoders of numbers": (outputs(embedding=ROWS, encoder=[1, 2]), "'encoder' is no list of str"),
    "another encoder": (
        outputs(embedding=ROWS, encoder=["b", "b"]),
        "by the encoder b, and a was expected",
    ),
    "two encoders": (
        outputs(embedding=ROWS, encoder=["a", "\x1b[2J"]),
        r"by the encoder \?\[2J, and a was",
    ),
    "rows of two models": (
        outputs(embedding=ROWS, encoder=["a", "\x1b[2J"]),
        r"by two encoders, a and \?\[2J",
    ),
    "one encoder for two": (outputs(embedding=ROWS, encoder=["a"]), "2 images names 1 encoders"),
    "no encoder": (outputs(embedding=ROWS), "does not say which encoder"),
    "a redirect": (
        http("", "301 Moved", "Location: http://127.0.0.1:1/\r\n"),
        r"sends to another address \(HTTP 301\)",
    ),
    "gzip": (
        http(gzip.compress(bytes(10_000_000)), headers="Content-Encoding: gzip\r\n"),
        "compressed",
    ),
    "a huge Content-Length": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{",
        "more than the .* bytes",
    ),
    "no Content-Length and no number": (b"HTTP/1.1 200 OK\r\nContent-Length: -1e9\r\n\r\n{", JSON),
    "an end within the answer": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        "closed within the answer",
    ),
    "chunks of garbage": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        "UNAVAILABLE|no answer in HTTP",
    ),
    "a chunk of no end": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n{}",
        "UNAVAILABLE|no answer in HTTP",
    ),
    "a status of garbage": (b"\x00\xff\x1b[31m 200\r\n\r\n", NO_HTTP),
    "another protocol": (b"SSH-2.0-OpenSSH_9.9\r\n", NO_HTTP),
    "a status of letters": (b"HTTP/1.1 abc OK\r\n\r\n", NO_HTTP),
    "a status line of 1 MB": (b"HTTP/1.1 200 " + b"O" * 1_000_000 + b"\r\n\r\n", NO_HTTP),
    "1,000 headers": (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n", NO_HTTP),
    "no status at all": (b"", "UNAVAILABLE"),
    "an error with escape codes": (
        http('{"error": "no\\u001b[2J\\u0007"}', "400 Bad"),
        r"INVALID_ARGUMENT: no\?\[2J\?",
    ),
    "an error that is text": (http("\x1b]0;title\x07", "500 Error"), r"HTTP 500: \?\]0;title"),
    "an error that is a list": (http('["x"]', "400 Bad"), "INVALID_ARGUMENT"),
    "an error of many lines": (
        http('{"error": "a\\nb\\nc"}', "400 Bad"),
        r"INVALID_ARGUMENT: a\)$",
    ),
    "an error of 10 MB": (
        http('{"error": "' + "e" * 10_000_000 + '"}', "400 Bad"),
        "bytes that one|INVALID_ARGUMENT: e",
    ),
    "a wish for a token": (http("", "401 Unauthorized"), "wants a token"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_hostile_answer_is_one_line(client_module, name):
    sent, said = ANSWERS[name]
    # One name is expected where the answers are of encoders, and everywhere else none.
    expect = "a" if "encoder" in name and "numbers" not in name else None
    with raw_server(answering(sent)) as port:
        client = client_module.Client(
            f"http://127.0.0.1:{port}", timeout=20.0, attempts=1, expect=expect
        )
        with pytest.raises(client_module.ServingError, match=said) as raised:
            client.embed(IMAGES)
    text = str(raised.value)
    assert text.isprintable()
    assert len(text) < 600


def for_ever(part: bytes, pause: float, start: bytes = b"") -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(start)
        while True:
            connection.sendall(part)
            time.sleep(pause)

    return serve


def never_reads(connection: socket.socket) -> None:
    time.sleep(20)


ENDLESS = {
    "silence": silent,
    "100 Continue, one after another": for_ever(b"HTTP/1.1 100 Continue\r\n\r\n", 0.0),
    "100 Continue, now and then": for_ever(b"HTTP/1.1 100 Continue\r\n\r\n", 0.2),
    "a status line, letter by letter": for_ever(b"H", 0.2),
    "headers, letter by letter": for_ever(b"a", 0.2, b"HTTP/1.1 200 OK\r\n"),
    "a body, byte by byte": for_ever(
        b" ", 0.2, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    ),
    "chunks, byte by byte": for_ever(
        b"1\r\n \r\n", 0.2, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
    "a request that is not read": never_reads,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_slow_server_holds_nobody_longer_than_the_time_out(client_module, name):
    images = [b"\xff\xd8\xff" + bytes(7_000_000)] * 4 if ENDLESS[name] is never_reads else IMAGES
    with raw_server(ENDLESS[name]) as port:
        client = client_module.Client(f"http://127.0.0.1:{port}", timeout=1.0)
        start = time.monotonic()
        with pytest.raises(
            client_module.ServingError, match=r"no answer within the time-out \(DEADLINE_EXCEEDED"
        ):
            client.embed(images)
        assert time.monotonic() - start < 1.0 + IN_TIME


def test_neither_does_a_tls_handshake_that_never_ends(client_module):
    with raw_server(silent) as port:
        client = client_module.Client(f"https://127.0.0.1:{port}", timeout=1.0)
        start = time.monotonic()
        with pytest.raises(client_module.ServingError, match="no answer within the time-out"):
            client.embed(IMAGES)
        assert time.monotonic() - start < 1.0 + IN_TIME


def test_neither_does_a_name_server_that_never_answers(client_module, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **options: time.sleep(20))
    start = time.monotonic()
    with pytest.raises(client_module.ServingError, match="no answer within the time-out"):
        client_module.Client("http://a.example:80", timeout=1.0).embed(IMAGES)
    assert time.monotonic() - start < 1.0 + IN_TIME


def test_an_endless_body_is_cut_off_at_what_an_answer_can_have(client_module):
    with raw_server(for_ever(b" " * (1 << 20), 0.0, b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        client = client_module.Client(f"http://127.0.0.1:{port}", timeout=60.0, batch_size=2)
        tracemalloc.start()
        with pytest.raises(client_module.ServingError, match=r"more than the [0-9,]+ bytes"):
            client.embed(IMAGES)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1e9  # the thread that serves is counted too: 0.3 GB were seen on a busy machine
