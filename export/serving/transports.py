"""The two ways to ask a tensorflow_model_server, with the same errors."""

import base64
import http.client
import json
import time
from collections.abc import Sequence

import numpy as np

INPUT, OUTPUT = "image_bytes", "embedding"
MAXIMUM_MESSAGE_BYTES = 512 << 20  # 32 images of 8 MB, and as much again for base64


class ServingError(Exception):
    """What went wrong, in a line; asking again would not help."""


class TransientError(ServingError):
    """Asking again may help."""


# By gRPC's names of its codes; TF Serving answers REST requests with the HTTP statuses beside them.
MEANINGS = {
    "INVALID_ARGUMENT": "the request was refused",
    "NOT_FOUND": "there is no such model, version or label",
    "FAILED_PRECONDITION": "the model cannot answer this request",
    "UNIMPLEMENTED": "this is no TF Serving, or an older one",
    "DEADLINE_EXCEEDED": "no answer within the time-out",
    "UNAVAILABLE": "no server answers there, or it is full",
    "RESOURCE_EXHAUSTED": "the server is out of memory or its queue is full; smaller batches may help",
}
TRANSIENT = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"}
CODE_OF_STATUS = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    412: "FAILED_PRECONDITION",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def error_of(code: str, details: str) -> ServingError:
    lines = details.strip().splitlines() or ["no details"]
    text = f"{MEANINGS.get(code, 'the server failed')} ({code}: {lines[0][:300]})"
    return TransientError(text) if code in TRANSIENT else ServingError(text)


def one_output(outputs: dict) -> object:
    if OUTPUT not in outputs:
        raise ServingError(f"the signature gives {', '.join(sorted(outputs)) or 'nothing'} and no '{OUTPUT}'")
    return outputs[OUTPUT]


class GrpcTransport:
    def __init__(self, address: str, model: str, label: str | None, signature: str):
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        self.failure = grpc.RpcError
        sizes = [(f"grpc.max_{way}_message_length", MAXIMUM_MESSAGE_BYTES) for way in ("send", "receive")]
        # All pods that the name stands for, in turn.
        self.channel = grpc.insecure_channel(address, [*sizes, ("grpc.lb_policy_name", "round_robin")])
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model, self.label, self.signature = model, label, signature

    def predict(self, images: Sequence[bytes], seconds: float) -> np.ndarray:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = self.model, self.signature
        if self.label:
            request.model_spec.version_label = self.label
        request.inputs[INPUT].CopyFrom(tf.make_tensor_proto(list(images), tf.string))
        try:
            answer = self.stub.Predict(request, timeout=max(seconds, 0.001))
        except self.failure as error:
            raise error_of(error.code().name, error.details() or "") from None  # pyright: ignore
        return np.asarray(tf.make_ndarray(one_output(dict(answer.outputs))), np.float32)

    def close(self) -> None:
        self.channel.close()


class RestTransport:
    def __init__(self, address: str, model: str, label: str | None, signature: str):
        self.address, self.signature = address, signature
        self.path = f"/v1/models/{model}{f'/labels/{label}' if label else ''}:predict"

    def predict(self, images: Sequence[bytes], seconds: float) -> np.ndarray:
        given = {INPUT: [{"b64": base64.b64encode(image).decode()} for image in images]}
        status, body = self.post(json.dumps({"signature_name": self.signature, "inputs": given}), seconds)
        try:
            answer = json.loads(body)
        except ValueError:
            answer = {"error": body[:300].decode("utf-8", "replace")}
        if status != 200:
            raise error_of(CODE_OF_STATUS.get(status, f"HTTP {status}"), str(answer.get("error", "")))
        outputs = answer.get("outputs")
        # A signature with one output gives it without its name.
        return np.asarray(one_output(outputs) if isinstance(outputs, dict) else outputs, np.float32)

    def post(self, request: str, seconds: float) -> tuple[int, bytes]:
        deadline = time.monotonic() + seconds
        connection = http.client.HTTPConnection(self.address, timeout=max(seconds, 0.001))
        try:
            connection.request("POST", self.path, request, {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = b""
            while chunk := response.read1(1 << 20):
                body += chunk
                if time.monotonic() > deadline:
                    raise TimeoutError
            return response.status, body
        except TimeoutError:
            raise error_of("DEADLINE_EXCEEDED", f"{seconds:.1f} s") from None
        except (OSError, http.client.HTTPException) as error:
            raise error_of("UNAVAILABLE", str(error) or type(error).__name__) from None
        finally:
            connection.close()

    def close(self) -> None:
        """Every request has a connection of its own."""
