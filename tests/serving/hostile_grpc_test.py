"""Tries what a server of gRPC may do to a client.

All of it is refused in a line, in time and in little memory.
"""

import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from servers import (
    DIMS,
    IMAGES,
    IN_TIME,
    LENGTH,
    ROWS,
    SHAPE,
    grpc_server,
    packed,
    raw_server,
    response,
    silent,
    tensor,
)


def hostile_messages(wire: Any) -> dict[str, tuple[bytes, str]]:
    good = tensor(wire, 1, [2, DIMS], packed(wire, ROWS))
    one = packed(wire, [1.0])
    claims = r"claims the shape \[.*\] and holds"
    cut = "cut off"
    none = "no message of TF Serving"

    def embedding(*parts: Any) -> bytes:
        return response(wire, embedding=tensor(wire, *parts))

    return {
        "nothing": (b"", "gives nothing and no 'embedding'"),
        "garbage": (b"\xff" * 100, none),
        "text": (b"hello", rf"{none}|{cut}"),
        "a group": (b"\x0b", none),
        "a length beyond the end": (b"\x0a\xff\xff\xff\xff\x0f", cut),
        "a number beyond the end": (b"\x08\x80", cut),
        "half an answer": (response(wire, embedding=good)[:-9], cut),
        "a number for the map": (wire.number(1, 7), none),
        "an entry without a tensor": (
            wire.field(1, wire.field(1, b"embedding")),
            "type 0, and not 1",
        ),
        "a million empty fields": (b"\x10\x00" * 1_000_000, none),
        "other outputs": (
            response(wire, **{"a\x1b[31m": good}),
            r"gives a\?\[31m and no 'embedding'",
        ),
        "a shape of 8 GB": (embedding(1, [2, 1_000_000_000], one), claims),
        "a shape of 2^63": (embedding(1, [1 << 62, 2], one), claims),
        "a negative side": (embedding(1, [2, (1 << 64) - 1], one), "side of no or negative length"),
        "one value for all": (embedding(1, [2, DIMS], one), claims),
        "too many values": (embedding(1, [2, DIMS], packed(wire, [*ROWS, ROWS[0]])), claims),
        "a rank of 100": (embedding(1, [1] * 100, one), claims),
        "no values in a huge shape": (embedding(1, [0, 1 << 60, 1 << 60]), SHAPE),
        "no shape": (embedding(1, [], one), SHAPE),
        "rank 3": (embedding(1, [1, 2, DIMS], packed(wire, ROWS)), SHAPE),
        "one row": (embedding(1, [1, DIMS], packed(wire, ROWS[:1])), SHAPE),
        "numbers of 64 bits": (
            embedding(2, [2, DIMS], wire.field(6, np.asarray(ROWS).tobytes())),
            "type 2, and not 1",
        ),
        "texts": (embedding(7, [2, DIMS], wire.field(8, b"1") * 8), "type 7, and not 1"),
        "an unknown type": (embedding(99, [2, DIMS], packed(wire, ROWS)), "type 99, and not 1"),
        "a number cut off": (embedding(1, [2, DIMS], wire.field(5, bytes(31))), cut),
        "NaN": (embedding(1, [2, DIMS], packed(wire, [ROWS[0], [np.nan] * 4])), LENGTH),
        "a row of zeros": (embedding(1, [2, DIMS], packed(wire, [ROWS[0], [0] * 4])), LENGTH),
        "a row of another length": (
            embedding(
                1, [2, DIMS], wire.field(4, np.array([ROWS[0], [0, 3, 0, 0]], np.float32).tobytes())
            ),
            LENGTH,
        ),
        "one encoder for two": (
            response(wire, embedding=good, encoder=tensor(wire, 7, [1], wire.field(8, b"a"))),
            "2 images names 1 encoders",
        ),
        "another encoder": (
            response(
                wire, embedding=good, encoder=tensor(wire, 7, [2], wire.field(8, b"\xff\x1b") * 2)
            ),
            "was expected",
        ),
        "ok of numbers": (
            response(wire, embedding=good, ok=tensor(wire, 3, [2], wire.field(7, b"\1\1"))),
            "type 3, and not 10",
        ),
        "ok of one": (
            response(wire, embedding=good, ok=tensor(wire, 10, [1], wire.field(11, b"\1"))),
            "says of 1 whether|not say",
        ),
    }


def test_every_hostile_message_is_one_line(client_module, wire):
    waiting = hostile_messages(wire)
    for name, (sent, said) in waiting.items():
        with grpc_server(lambda request, context, sent=sent: sent) as port:
            expect = "a" if "encoder" in name else None
            client = client_module.Client(
                f"grpc://127.0.0.1:{port}", timeout=20.0, attempts=1, expect=expect
            )
            tracemalloc.start()
            with pytest.raises(client_module.ServingError, match=said) as raised:
                client.embed(IMAGES)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            client.close()
        assert str(raised.value).isprintable(), name
        assert peak < 50e6, name


def test_a_message_is_read_as_tensorflow_writes_it(wire):
    predict = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    tf = pytest.importorskip("tensorflow")
    made = predict.PredictResponse()
    made.model_spec.name = "encoder"
    made.outputs["embedding"].CopyFrom(tf.make_tensor_proto(np.array(ROWS, np.float32)))
    made.outputs["ok"].CopyFrom(tf.make_tensor_proto([True, False]))
    made.outputs["encoder"].CopyFrom(tf.make_tensor_proto(["a", "ü"]))
    made.outputs["unpacked"].dtype = 1
    made.outputs["unpacked"].float_val.append(0.5)
    found = wire.outputs_of(made.SerializeToString())
    np.testing.assert_array_equal(wire.floats(found["embedding"]), np.array(ROWS, np.float32))
    assert wire.booleans(found["ok"]) == [True, False]
    assert wire.strings(found["encoder"]) == ["a", "ü"]
    assert wire.floats(found["unpacked"]) == 0.5
    request = predict.PredictRequest.FromString(
        wire.predict_request("m", "stable", "s", "image_bytes", [b"\0a", b""])
    )
    assert (
        request.model_spec.name,
        request.model_spec.version_label,
        request.model_spec.signature_name,
    ) == (
        "m",
        "stable",
        "s",
    )
    assert tf.make_ndarray(request.inputs["image_bytes"]).tolist() == [b"\0a", b""]


def test_grpc_messages_are_not_unpacked(client_module, wire):
    """Sends a message of 100 MB of zeros, which is 100 KB when it is compressed."""
    grpc = pytest.importorskip("grpc")
    bomb = response(
        wire, embedding=tensor(wire, 1, [2, DIMS], packed(wire, ROWS)), other=bytes(100_000_000)
    )
    with grpc_server(lambda request, context: bomb, compression=grpc.Compression.Gzip) as port:
        client = client_module.Client(
            f"grpc://127.0.0.1:{port}", timeout=20.0, attempts=1, batch_size=2
        )
        with pytest.raises(
            client_module.ServingError, match="Compression algorithm 'gzip' is disabled"
        ):
            client.embed(IMAGES)
        client.close()


def test_a_message_longer_than_an_answer_is_told(client_module, wire):
    long = response(wire, other=bytes(1_000_000))
    with grpc_server(lambda request, context: long) as port:
        client = client_module.Client(f"grpc://127.0.0.1:{port}", timeout=20.0, batch_size=2)
        with pytest.raises(client_module.ServingError, match=r"too long: .* larger than max"):
            client.embed(IMAGES)
        client.close()


def test_an_error_of_grpc_is_plain(client_module):
    grpc = pytest.importorskip("grpc")

    def refuse(request: bytes, context: Any) -> bytes:
        return context.abort(grpc.StatusCode.INTERNAL, "no\x1b[2J\nmore")

    with grpc_server(refuse) as port:
        client = client_module.Client(f"grpc://127.0.0.1:{port}", timeout=20.0)
        with pytest.raises(
            client_module.ServingError, match=r"the server failed \(INTERNAL: no\?\[2J\)"
        ):
            client.embed(IMAGES)
        client.close()


@pytest.mark.parametrize("name", ["silence", "garbage"])
def test_no_grpc_at_all_is_told_in_time(client_module, name):
    serve = (
        silent
        if name == "silence"
        else lambda connection: connection.sendall(b"SSH-2.0\r\n" + bytes(1000))
    )
    with raw_server(serve) as port:
        client = client_module.Client(f"grpc://127.0.0.1:{port}", timeout=1.0)
        start = time.monotonic()
        with pytest.raises(
            client_module.ServingError, match=r"DEADLINE_EXCEEDED|UNAVAILABLE"
        ) as raised:
            client.embed(IMAGES)
        assert time.monotonic() - start < 1.0 + IN_TIME
        assert str(raised.value).isprintable()
        client.close()
