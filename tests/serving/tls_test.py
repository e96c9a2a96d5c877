"""TLS and the token, with a certificate for 127.0.0.1 that an authority of its own has signed.

tests/golden/tls holds both and the server's key, made by openssl; they are good from 2020 to 2120.
"""

import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from servers import (
    DIMS,
    IMAGES,
    ROWS,
    TLS,
    answering,
    grpc_server,
    outputs,
    packed,
    raw_server,
    read_request,
    response,
    tensor,
)


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    return context


def test_https_and_the_token(client_module):
    heads = []

    def serve(connection: socket.socket) -> None:
        heads.append(read_request(connection))
        connection.sendall(outputs(embedding=ROWS))

    with raw_server(serve, server_tls()) as port:
        address = f"https://127.0.0.1:{port}"
        client = client_module.Client(
            address, ca_file=TLS / "ca.pem", token="secret-1", timeout=20.0
        )
        np.testing.assert_allclose(client.embed(IMAGES), np.array(ROWS, np.float32))
        assert b"\r\nAuthorization: Bearer secret-1" in heads[0]
        with pytest.raises(
            client_module.ServingError, match="the server's certificate is not trusted: "
        ):
            client_module.Client(address, token="secret-1", timeout=20.0).embed(IMAGES)
        assert len(heads) == 1  # the token was not shown to whom is not trusted


def test_grpcs_and_the_token(client_module, wire):
    grpc = pytest.importorskip("grpc")
    seen = []

    def answer(request: bytes, context: Any) -> bytes:
        seen.append(dict(context.invocation_metadata()).get("authorization"))
        return response(wire, embedding=tensor(wire, 1, [2, DIMS], packed(wire, ROWS)))

    pair = ((TLS / "server.key").read_bytes(), (TLS / "server.pem").read_bytes())
    with grpc_server(answer, grpc.ssl_server_credentials([pair])) as port:
        address = f"grpcs://127.0.0.1:{port}"
        client = client_module.Client(
            address, ca_file=TLS / "ca.pem", token="secret-1", timeout=20.0
        )
        np.testing.assert_allclose(client.embed(IMAGES), np.array(ROWS, np.float32))
        client.close()
        untrusting = client_module.Client(address, token="secret-1", timeout=2.0)
        with pytest.raises(
            client_module.ServingError, match=r"UNAVAILABLE.*CERTIFICATE_VERIFY_FAILED|DEADLINE"
        ):
            untrusting.embed(IMAGES)
        untrusting.close()
    assert seen == ["Bearer secret-1"]


def test_https_where_there_is_no_tls_is_told(client_module):
    with raw_server(answering(b"HTTP/1.1 400 Bad\r\n\r\n")) as port:
        client = client_module.Client(f"https://127.0.0.1:{port}", timeout=2.0)
        with pytest.raises(
            client_module.ServingError, match=r"no TLS connection|UNAVAILABLE|time-out"
        ):
            client.embed(IMAGES)


@pytest.mark.parametrize(
    ("server", "options", "said"),
    [
        (
            "http://a.example:80",
            {"token": "secret"},
            "the token would be sent in clear; use https://",
        ),
        (
            "grpc://10.0.0.1:80",
            {"token": "secret"},
            "the token would be sent in clear; use grpcs://",
        ),
        ("https://a.example", {"token": "a\r\nX-Other: b"}, "letters that none has"),
        ("http://127.0.0.1:80", {"ca_file": TLS / "ca.pem"}, "--ca_file goes with https://"),
        ("https://127.0.0.1", {"ca_file": TLS / "none.pem"}, "no such file of certificates"),
        ("https://127.0.0.1", {"ca_file": Path("/dev/zero")}, "no such file of certificates"),
        ("https://127.0.0.1", {"ca_file": TLS / "server.key"}, "holds no certificates in PEM"),
        ("grpcs://127.0.0.1:1", {"ca_file": TLS / "server.key"}, "holds no certificates in PEM"),
        ("http://127.0.0.1:80", {"timeout": float("nan")}, "a number of seconds above 0"),
        ("http://127.0.0.1:80", {"batch_size": 0}, "at least 1 is needed"),
    ],
)
def test_options_that_do_not_go_together_are_told(client_module, server, options, said):
    with pytest.raises(client_module.ServingError, match=said) as raised:
        client_module.Client(server, **options)
    assert "secret" not in str(raised.value)


def test_a_token_is_read_from_its_file_or_the_environment(client_module, tmp_path, monkeypatch):
    monkeypatch.setenv("BCT_SERVING_TOKEN", "from-environment\n")
    (tmp_path / "token").write_text("from-file\n")
    (tmp_path / "empty").write_text("\n")
    assert client_module.token_of(tmp_path / "token") == "from-file"
    assert client_module.token_of(None) == "from-environment"
    for file in (tmp_path / "empty", tmp_path / "none", Path("/dev/zero")):
        with pytest.raises(client_module.ServingError, match="--token_file"):
            client_module.token_of(file)
    monkeypatch.delenv("BCT_SERVING_TOKEN")
    assert client_module.token_of(None) is None
