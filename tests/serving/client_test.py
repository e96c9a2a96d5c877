import importlib
import io
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from servers import (
    DIMS,
    IMAGES,
    ROWS,
    answering,
    grpc_server,
    outputs,
    packed,
    raw_server,
    response,
    tensor,
)

SERVING = Path(__file__).parents[2] / "export" / "serving"
KINDS = ["grpc", "http"]


def photo(number: int, side: int = 40, form: str = "PNG") -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(buffer := io.BytesIO(), form)
    return buffer.getvalue()


def expected(models: Path, version: int, photos: list[bytes]) -> np.ndarray:
    signatures = tf.saved_model.load(str(models / "encoder" / str(version))).signatures  # pyright: ignore
    return signatures["serving_default"](image_bytes=tf.constant(photos))["embedding"].numpy()


@pytest.fixture
def connect(server, client_module, request) -> Iterator[Any]:
    opened = []

    def make(kind: str, address: str | None = None, **options) -> Any:
        opened.append(client_module.Client(address or server.address(kind), **options))
        return opened[-1]

    yield make
    for client in opened:
        client.close()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("label", "version"), [("stable", 1), ("canary", 2), (None, 2)])
def test_embeddings_are_those_of_the_labelled_version(connect, served_models, kind, label, version):
    photos = [photo(0), photo(1, side=28, form="JPEG"), photo(2, side=90)]
    found = connect(kind, label=label).embed(photos)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(served_models, version, photos), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_many_images_go_in_batches_and_keep_their_order(connect, server, served_models, kind):
    photos = [photo(number) for number in range(7)]
    found = connect(kind, batch_size=3).embed(photos)
    assert server.batches == [3, 3, 1]
    np.testing.assert_allclose(found, expected(served_models, 2, photos), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_what_may_pass_is_tried_again(connect, server, kind, code):
    server.refusals = [(code, "not now"), (code, "not now")]
    assert connect(kind).embed([photo(0)]).shape == (1, 8)
    assert not server.refusals


@pytest.mark.parametrize("kind", KINDS)
def test_what_stays_wrong_is_tried_once(connect, server, client_module, kind):
    server.refusals = [("INVALID_ARGUMENT", "no"), ("INVALID_ARGUMENT", "asked again")]
    with pytest.raises(
        client_module.ServingError, match=r"the request was refused \(INVALID_ARGUMENT: no\)"
    ):
        connect(kind).embed([photo(0)])
    assert server.refusals == [("INVALID_ARGUMENT", "asked again")]


FAILURES = {
    # name: (options of the client, refusals of the server, its delay, the image, what is said)
    "gone": ({"address": True}, [], 0, photo(0), r"no server answers there.*\(attempt \d of 4\)"),
    "slow": ({}, [], 4, photo(0), r"no answer within the time-out \(DEADLINE_EXCEEDED"),
    "out of memory": (
        {},
        [("RESOURCE_EXHAUSTED", "OOM")] * 4,
        0,
        photo(0),
        r"out of memory.*RESOURCE_EXHAUSTED: OOM",
    ),
    "wrong signature": (
        {"signature": "faces"},
        [],
        0,
        photo(0),
        r'cannot answer.*signature key "faces" not found',
    ),
    "signature of pixels": (
        {"signature": "pixels"},
        [],
        0,
        photo(0),
        r"the request was refused \(INVALID_ARGUMENT",
    ),
    "wrong label": (
        {"label": "beta"},
        [],
        0,
        photo(0),
        r"no such model, version or label \(NOT_FOUND",
    ),
    "wrong model": (
        {"model": "decoder"},
        [],
        0,
        photo(0),
        r"no such model, version or label \(NOT_FOUND",
    ),
    "10 MB image": (
        {},
        [],
        0,
        b"\xff\xd8\xff" + bytes(10_000_000),
        r"image 0 has 10\.0 MB, more than 8\.0 MB",
    ),
    "not an image": ({}, [], 0, b"GIF89a", r"image 0 is neither JPEG nor PNG"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("failure", FAILURES)
def test_each_failure_is_a_clear_line_within_the_time_out(
    connect, server, client_module, kind, failure
):
    options, refusals, delay, image, said = FAILURES[failure]
    if options.get("address"):
        options = {"address": f"{kind}://127.0.0.1:{free_port()}"}
    server.refusals, server.delay = list(refusals), delay
    client = connect(kind, timeout=2.0, **options)
    start = time.monotonic()
    with pytest.raises(client_module.ServingError, match=said) as raised:
        client.embed([image])
    assert time.monotonic() - start < 2.5  # half a second for a busy machine
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", KINDS)
def test_ten_megabytes_pass_where_they_are_allowed(connect, kind):
    heavy = photo(0, form="JPEG") + bytes(10_000_000)  # what follows a JPEG's end is not read
    found = connect(kind, maximum_image_bytes=20_000_000, timeout=30.0).embed([heavy])
    assert found.shape == (1, 8)


def test_a_signature_without_embedding_is_told(client_module):
    transports = importlib.import_module("transports")
    with pytest.raises(client_module.ServingError, match="gives scores and no 'embedding'"):
        transports.check_output({"scores": 1})


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_of_two_embeddings_is_asked_for_one_of_them(client_module, wire, kind):
    rows = {"embedding": ROWS, "embedding_compatible": [row[::-1] for row in ROWS]}
    tensors = {name: tensor(wire, 1, [2, DIMS], packed(wire, rows[name])) for name in rows}
    grpc_answer = response(wire, **tensors)
    servers = {
        "grpc": lambda: grpc_server(lambda *_: grpc_answer),
        "http": lambda: raw_server(answering(outputs(**rows))),
    }
    with servers[kind]() as port:
        for name, embeddings in rows.items():
            client = client_module.Client(f"{kind}://127.0.0.1:{port}", timeout=20.0, output=name)
            np.testing.assert_allclose(client.embed(IMAGES), np.array(embeddings, np.float32))
            client.close()
        client = client_module.Client(f"{kind}://127.0.0.1:{port}", timeout=20.0)
        told = "for queries in the old gallery; say which you need with --output"
        with pytest.raises(client_module.ServingError, match=told):
            client.embed(IMAGES)
        client.close()


def test_an_encoder_of_one_embedding_gives_it_for_either_name(connect, client_module):
    photos = [photo(0)]
    expected = connect("http").embed(photos)
    found = connect("http", output="embedding_compatible").embed(photos)
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(client_module.ServingError, match="--output=old: embedding or embedding_c"):
        connect("http", output="old")


ADDRESSES = [
    "127.0.0.1:8500",
    "ftp://127.0.0.1",
    "grpc://",
    "grpc://host",
    "grpc://a:b",
    "http://me:secret@host",
    "http://[::1",
]


@pytest.mark.parametrize(
    "address", [*ADDRESSES, "http://host/v2", "http://host:99999", "http://a\x1b[31m:80"]
)
def test_an_address_of_no_known_kind_is_told(client_module, address):
    with pytest.raises(
        client_module.ServingError, match=r"is not one of grpc://host:port, .* https://host:port"
    ):
        client_module.Client(address)


BROKEN = {
    "half a PNG": photo(0)[:200],
    "a PNG of 10^8 pixels": photo(0)[:16] + (10_000).to_bytes(4, "big") * 2 + photo(0)[24:],
    "no more than a start": b"\xff\xd8\xff",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_image_is_told_and_leaves_the_others_of_its_batch_alone(
    connect, server, served_models, kind
):
    good = [photo(0), photo(1, form="JPEG")]
    found = connect(kind).embed([good[0], *BROKEN.values(), good[1]])
    assert server.batches == [2 + len(BROKEN)]
    assert np.isnan(found[1:-1]).all()
    np.testing.assert_allclose(found[[0, -1]], expected(served_models, 2, good), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_another_encoder_than_was_expected_is_refused(connect, client_module, exported, kind):
    name = client_module.expected_encoder(str(exported[2]))
    assert connect(kind, label="canary", expect=name).embed([photo(0)]).shape == (1, 8)
    with pytest.raises(
        client_module.ServingError, match=f"is by the encoder [0-9a-f]+, and {name} was expected"
    ):
        connect(kind, label="stable", expect=name).embed([photo(0)])


@pytest.mark.parametrize("names", [("a", "b"), ("a", None)])
def test_a_label_that_moves_between_two_batches_is_told(client_module, names):
    """The dimensions are the same, so that nothing else would tell."""
    waiting = list(names)

    def serve(connection: socket.socket) -> None:
        fields: dict[str, Any] = {"embedding": ROWS[:1]}
        name = waiting.pop(0)
        if name:
            fields["encoder"] = [name]
        answering(outputs(**fields))(connection)

    with raw_server(serve) as port:
        client = client_module.Client(f"http://127.0.0.1:{port}", timeout=20.0, batch_size=1)
        with pytest.raises(client_module.ServingError, match=r"by 2 encoders.*ask again"):
            client.embed(IMAGES)
    assert not waiting


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (None, "is not there"),
        ("{}", "export it anew"),
        ("[1]", "export it anew"),
        ('{"served_name": 7}', "export it anew"),
        ("[" * 100_000, "is damaged"),
        ("{", "is damaged"),
    ],
)
def test_a_folder_that_names_no_encoder_is_told(client_module, tmp_path, manifest, said):
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(client_module.ServingError, match=said):
        client_module.expected_encoder(str(tmp_path))


def test_the_client_needs_neither_tensorflow_nor_protobuf():
    blocked = (
        "import sys\nfor name in ('tensorflow', 'google', 'tensorflow_serving', 'keras'):"
        " sys.modules[name] = None\n"
    )
    code = (
        f"{blocked}sys.path.insert(0, {str(SERVING)!r})\nimport"
        " client\nprint(type(client.Client('grpc://127.0.0.1:1')).__name__)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout.strip()) == (0, "Client"), ended.stderr


def test_the_command_writes_embeddings_or_one_line(server, served_models, tmp_path):
    (tmp_path / "photo.png").write_bytes(photo(3))
    command = [
        sys.executable,
        str(SERVING / "client.py"),
        f"--server={server.address('http')}",
        "--label=stable",
    ]
    files = [str(tmp_path / "photo.png"), f"--out={tmp_path / 'found.npy'}"]
    subprocess.run([*command, *files], check=True, capture_output=True)
    found = np.load(tmp_path / "found.npy")
    np.testing.assert_allclose(found, expected(served_models, 1, [photo(3)]), rtol=0, atol=1e-6)
    (tmp_path / "text.jpg").write_text("no image")
    failed = subprocess.run([*command, str(tmp_path / "text.jpg")], capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stderr == f"error: {tmp_path / 'text.jpg'} is neither JPEG nor PNG\n"
    (tmp_path / "half.png").write_bytes(photo(3)[:200])
    partly = subprocess.run(
        [*command, str(tmp_path / "half.png"), *files], capture_output=True, text=True
    )
    assert partly.returncode == 1
    assert (
        partly.stderr
        == f"error: {tmp_path / 'half.png'}: the server cannot decode it, or it has too many"
        " pixels\n"
    )
    np.testing.assert_array_equal(np.isnan(np.load(tmp_path / "found.npy")).all(1), [True, False])


def test_warm_up_requests_are_predictions_that_the_server_can_answer(server, served_models):
    prediction_log = importlib.import_module(
        "tensorflow_serving.apis.prediction_log_pb2"
    ).PredictionLog
    path = served_models / "encoder" / "1" / "assets.extra" / "tf_serving_warmup_requests"
    requests = []
    for record in tf.data.TFRecordDataset(str(path)):
        log = prediction_log.FromString(record.numpy())
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        # The server gives each request to the model that it lies beside.
        request.model_spec.name = "encoder"
        assert tf.make_ndarray(server.predict(request).outputs["embedding"]).shape[0] == 1
        requests.append(request.model_spec.signature_name)
    assert requests == ["serving_default", "pixels", "float"]


@pytest.fixture(scope="module")
def real_server(served_models, tmp_path_factory) -> Iterator[str]:
    """Yields TF_SERVING_ADDRESS, or the address of a tensorflow_model_server started here."""
    if given := os.environ.get("TF_SERVING_ADDRESS"):
        yield f"grpc://{given}"
        return
    binary = shutil.which("tensorflow_model_server")
    if not binary:
        pytest.skip("neither TF_SERVING_ADDRESS nor tensorflow_model_server is there")
    config = tmp_path_factory.mktemp("config") / "models.config"
    config.write_text(
        (SERVING / "models.config").read_text().replace("/models/", f"{served_models}/")
    )
    port = free_port()
    flags = [
        f"--port={port}",
        f"--model_config_file={config}",
        "--allow_version_labels_for_unavailable_models=true",
    ]
    batching = [
        "--enable_batching=true",
        f"--batching_parameters_file={SERVING / 'batching.config'}",
    ]
    process = subprocess.Popen([binary, *flags, *batching])
    yield f"grpc://127.0.0.1:{port}"
    process.terminate()
    process.wait()


def test_the_real_server_gives_embeddings_of_length_1(real_server, client_module):
    client = client_module.Client(real_server, label="stable", timeout=60.0, attempts=12)
    found = client.embed([photo(0), photo(1, side=90, form="JPEG")])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-4)
