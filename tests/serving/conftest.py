"""A server on this machine that speaks TF Serving's own messages over real SavedModels, and fails
when told to.
"""

import base64
import importlib
import json
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bct_keras.export.formats.format import Source
from bct_keras.export.run import Checks, export, keras_encoder

SERVING = Path(__file__).parents[2] / "export" / "serving"
sys.path.insert(
    0, str(SERVING)
)  # the client is a script beside its transports, no part of bct_keras

# tensorflow_serving/util/net_http: the HTTP status of each code
STATUS = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "FAILED_PRECONDITION": 412,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
}


def messages(module: str) -> Any:
    return importlib.import_module(f"tensorflow_serving.{module}")


def as_json(values: np.ndarray) -> list:
    return [value.decode() for value in values] if values.dtype == object else values.tolist()


class RefusedError(Exception):
    def __init__(self, code: str, details: str):
        super().__init__(details)
        self.code, self.details = code, details


class Loopback:
    """Answers Predict as tensorflow_model_server does with export/serving/models.config."""

    def __init__(self, models: Path):
        from google.protobuf import text_format

        text = (SERVING / "models.config").read_text()
        parsed = text_format.Parse(
            text, messages("config.model_server_config_pb2").ModelServerConfig()
        )
        self.configs = {config.name: config for config in parsed.model_config_list.config}
        self.models: dict[tuple[str, int], Any] = {
            (name, version): tf.saved_model.load(
                str(models / Path(config.base_path).name / str(version))
            )
            for name, config in self.configs.items()
            for version in config.model_version_policy.specific.versions
        }
        self.delay, self.refusals, self.batches = 0.0, [], []
        self.grpc = self.start_grpc()
        self.http = self.start_http()

    def predict(self, request: Any) -> Any:
        time.sleep(self.delay)
        if self.refusals:
            raise RefusedError(*self.refusals.pop(0))
        signatures = self.model(request.model_spec).signatures
        name = request.model_spec.signature_name or "serving_default"
        if name not in signatures:
            raise RefusedError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
        serve = signatures[name]
        if set(request.inputs) != set(serve.structured_input_signature[1]):
            raise RefusedError(
                "INVALID_ARGUMENT",
                f"inputs {sorted(request.inputs)} are not those of the signature",
            )
        given = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        self.batches.append(len(next(iter(given.values()))))
        try:
            outputs = serve(**given)
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            raise RefusedError("INVALID_ARGUMENT", str(error)) from None
        answer = messages("apis.predict_pb2").PredictResponse()
        for key, value in outputs.items():
            answer.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return answer

    def model(self, spec: Any) -> Any:
        config = self.configs.get(spec.name)
        label = spec.version_label
        if config is None or (label and label not in config.version_labels):
            raise RefusedError("NOT_FOUND", f"Servable not found for request: {spec.name} {label}")
        versions = config.model_version_policy.specific.versions
        return self.models[spec.name, config.version_labels[label] if label else max(versions)]

    def start_grpc(self) -> Any:
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        core = self

        class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
            def Predict(self, request, context):
                try:
                    return core.predict(request)
                except RefusedError as refused:
                    context.abort(grpc.StatusCode[refused.code], refused.details)

        server = grpc.server(
            ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)]
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(), server)
        self.grpc_port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return server

    def start_http(self) -> ThreadingHTTPServer:
        core = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    status, answer = 200, core.predict_json(self.path, json.loads(body))
                except RefusedError as refused:
                    status, answer = STATUS[refused.code], {"error": refused.details}
                content = json.dumps(answer).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    pass  # the client has given up, as some tests want it to

            def log_message(self, format, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def predict_json(self, path: str, given: dict[str, Any]) -> dict[str, Any]:
        """/v1/models/NAME[/labels/LABEL]:predict in columns, as the REST API has it."""
        request = messages("apis.predict_pb2").PredictRequest()
        _, _, _, name, *label = path.removesuffix(":predict").split("/")
        request.model_spec.name, request.model_spec.version_label = name, label[1] if label else ""
        request.model_spec.signature_name = given.get("signature_name", "")
        for key, values in given["inputs"].items():
            binary = [base64.b64decode(value["b64"]) for value in values]
            request.inputs[key].CopyFrom(tf.make_tensor_proto(binary))
        outputs = {
            key: as_json(tf.make_ndarray(value))
            for key, value in self.predict(request).outputs.items()
        }
        return {"outputs": next(iter(outputs.values())) if len(outputs) == 1 else outputs}

    def address(self, kind: str) -> str:
        port = self.grpc_port if kind == "grpc" else self.http.server_address[1]
        return f"{kind}://127.0.0.1:{port}"

    def stop(self) -> None:
        self.grpc.stop(None)
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture(scope="session")
def client_module() -> Any:
    return importlib.import_module("client")


@pytest.fixture(scope="session")
def wire() -> Any:
    """The client's own reader of TF Serving's messages."""
    return importlib.import_module("messages")


@pytest.fixture(scope="session")
def exported(tmp_path_factory, tiny_encoder_path: Callable[[int], Path]) -> dict[int, Path]:
    """What `export` writes of each version."""
    folders = {}
    for version, dims in ((1, 4), (2, 8)):
        folders[version] = tmp_path_factory.mktemp("exported") / "files"
        export(
            Source(keras_encoder(tiny_encoder_path(dims))),
            ["saved_model"],
            folders[version],
            Checks(),
        )
    return folders


@pytest.fixture(scope="session")
def served_models(tmp_path_factory, exported) -> Path:
    """encoder/1 of 4 dimensions and encoder/2 of 8."""
    models = tmp_path_factory.mktemp("models")
    for version, folder in exported.items():
        (models / "encoder").mkdir(exist_ok=True)
        shutil.copytree(folder / "saved_model", models / "encoder" / str(version))
    return models


@pytest.fixture(scope="session")
def running_server(served_models) -> Iterator[Loopback]:
    pytest.importorskip("tensorflow_serving")
    server = Loopback(served_models)
    yield server
    server.stop()


@pytest.fixture
def server(running_server) -> Loopback:
    running_server.delay, running_server.refusals, running_server.batches = 0.0, [], []
    return running_server
