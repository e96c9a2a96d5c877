"""A store that is slow, overloaded, gone or refuses: a retry or a plain line, nothing half-done."""

import os
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bct_keras import artefacts, command, stores
from bct_keras.data.dataset import open_data_set
from bct_keras.embed.plan import REQUESTS_A_SHARD
from bct_keras.embed.run import embed
from bct_keras.encoders import load_encoder
from bct_keras.engines import Local
from bct_keras.errors import InputError, UnfinishedError
from bct_keras.prepare import writing
from bct_keras.prepare.run import prepare
from bct_keras.stores import places

FACES = "synthetic(identities=12, images=4, image_size=28)"
REFUSED = b"""<?xml version="1.0"?><Error><Code>InvalidAccessKeyId</Code>
<Message>The AWS Access Key Id you provided does not exist in our records.</Message></Error>"""


HOP = ("Connection", "Transfer-Encoding", "Content-Length", "Expect")  # between two machines alone


class Between(ThreadingHTTPServer):
    """Stands between and hands requests on, as far as it is not told to do worse."""

    daemon_threads = True

    def __init__(self, address: str):
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = address
        self.requests = 0
        self.statuses: list[int] = []  # of the next answers, in place of the server's
        self.seconds = 0.0  # before each answer
        self.shards_left = 1000  # to take; then it is gone

    def handle_error(self, request, client_address):
        """Says nothing of a client that has ended the connection."""


class Handler(BaseHTTPRequestHandler):
    server: Between
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def hand_on(self):
        server = self.server
        server.requests += 1
        body = self.body()
        server.shards_left -= self.command == "PUT" and ".tfrecord" in self.path
        if server.shards_left <= 0:
            self.close_connection = True
            return
        time.sleep(server.seconds)
        if server.statuses:
            status = server.statuses.pop()
            self.answer(status, {}, REFUSED if status == 403 else b"")
            return
        headers = {"Content-Type": "application/octet-stream"}  # else urllib says it is a form
        headers |= {name: value for name, value in self.headers.items() if name not in HOP}
        request = urllib.request.Request(
            server.address + self.path, body or None, headers, method=self.command
        )
        try:
            with urllib.request.urlopen(request) as found:
                self.answer(found.status, found.headers, found.read())
        except urllib.error.HTTPError as error:
            self.answer(error.code, error.headers, error.read())

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date"):
                self.send_header(name, value)
        size = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", size)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = hand_on  # noqa: N815


def connect_anew() -> None:
    """Lets the next request read the address from the environment."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    places.epaths().fsspec_backend._get_filesystem.cache_clear()


@pytest.fixture
def between(server, bucket, monkeypatch):
    """Every request of the test comes through here."""
    started = Between(os.environ["AWS_ENDPOINT_URL"])
    thread = threading.Thread(target=started.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{started.server_address[1]}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")  # bodies in one piece
    monkeypatch.setattr(writing, "RECORDS_PER_SHARD", 16)
    connect_anew()
    yield started
    started.shutdown()
    started.server_close()
    monkeypatch.undo()
    connect_anew()


def made_in(folder: Path) -> str:
    return prepare(FACES, "none", folder, engine=Local(1))


def test_503_and_slow_answers_are_waited_for(between, bucket, tmp_path):
    between.statuses = [503, 500, 503]
    between.seconds = 0.02
    assert "written" in made_in(bucket)
    assert not between.statuses
    made_in(tmp_path / "here")
    for name in stores.names_in(tmp_path / "here"):
        assert stores.here(bucket / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_wrong_credentials_are_named_at_once(between, bucket):
    between.statuses = [403] * 100
    with pytest.raises(InputError, match=r"^s3://.*: the store refuses \(.*credentials") as raised:
        made_in(bucket)
    assert len(str(raised.value).splitlines()) == 1
    assert between.requests < 5


def test_a_store_that_goes_away_in_the_middle_leaves_nothing_half_committed(between, bucket):
    between.shards_left = 2
    with pytest.raises(UnfinishedError, match=r"the store does not answer.*the same command goes"):
        made_in(bucket)
    between.shards_left = 1000
    names = stores.names_in(bucket)
    assert artefacts.MANIFEST not in names
    shards = [f"shards/all-0000{number}.tfrecord" for number in range(3)]
    assert [name for name in names if name in shards] == shards[:1]
    assert "written" in made_in(bucket)
    assert between.shards_left == 1000 - 2
    assert [name for name in stores.names_in(bucket) if name in shards] == shards


def test_how_many_requests_a_shard_takes(between, bucket, tmp_path, tiny_encoder_path):
    """`embed --dry_run` tells so."""
    encoder = load_encoder(tiny_encoder_path(4))
    requests = {}
    for identities in (8, 24):  # 2 shards, and 6
        folder = bucket / str(identities)
        faces = f"synthetic(identities={identities}, images=4, image_size=28)"
        prepare(faces, "none", folder / "data", engine=Local(1))
        data = open_data_set(folder / "data")
        before = between.requests
        embed(encoder, data, folder / "by")
        requests[len(data.shards)] = between.requests - before
    assert requests.keys() == {2, 6}
    a_shard = (requests[6] - requests[2]) / 4
    assert pytest.approx(a_shard, abs=1) == REQUESTS_A_SHARD


def test_whatever_the_store_says_a_command_ends_with_a_plain_line(between, bucket):
    between.statuses = [403] * 20
    with pytest.raises(PermissionError) as raised:
        (bucket / "x").exists()
    assert command.told(raised.value).startswith("the store refuses (")
    between.statuses = []
