"""The two ways to ask a tensorflow_model_server, with the same errors."""

import base64
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import connection
import messages
import numpy as np
from answer import Answer, largest_answer
from errors import CODE_OF_STATUS, ServingError, error_of, plain

INPUT, EMBEDDING, TAKEN, ENCODER = "image_bytes", "embedding", "ok", "encoder"
METHOD = "/tensorflow.serving.PredictionService/Predict"
MAXIMUM_REQUEST_BYTES = 512 << 20  # 32 images of 8 MB, and as much again
CA_FILE_BYTES = 1 << 20


@dataclass(frozen=True)
class Asked:
    """Which model of which server, and what is shown to it."""

    host: str
    port: int
    model: str
    label: str | None
    signature: str
    tls: bool
    ca_file: Path | None  # whose certificates are trusted; those of the system if None
    token: str | None

    def authorities(self) -> bytes | None:
        if self.ca_file is None:
            return None
        try:
            if not self.ca_file.is_file() or self.ca_file.stat().st_size > CA_FILE_BYTES:
                raise ServingError(f"--ca_file={self.ca_file}: no such file of certificates")
            return self.ca_file.read_bytes()
        except OSError as error:
            raise ServingError(f"--ca_file={self.ca_file}: {error.strerror}") from None

    def tls_context(self) -> ssl.SSLContext | None:
        if not self.tls:
            return None
        try:
            trusted = self.authorities()
            return ssl.create_default_context(
                cadata=trusted.decode("ascii") if trusted is not None else None
            )
        except (ssl.SSLError, ValueError):
            raise ServingError(f"--ca_file={self.ca_file} holds no certificates in PEM") from None


class GrpcTransport:
    def __init__(self, asked: Asked, batch_size: int):
        import grpc

        self.failure, self.asked = grpc.RpcError, asked
        options = [
            ("grpc.max_send_message_length", MAXIMUM_REQUEST_BYTES),
            ("grpc.max_receive_message_length", largest_answer(batch_size, "grpc")),
            # Not compressed: a limit of bytes holds for what arrives, and not for what becomes of
            # it.
            ("grpc.compression_enabled_algorithms_bitset", 1),
            ("grpc.lb_policy_name", "round_robin"),  # all pods that the name stands for, in turn
        ]
        host = f"[{asked.host}]" if ":" in asked.host else asked.host
        address = f"{host}:{asked.port}"
        if asked.tls:
            asked.tls_context()  # tells of a file that holds no certificates, which gRPC does not
            self.channel = grpc.secure_channel(
                address, grpc.ssl_channel_credentials(asked.authorities()), options
            )
        else:
            self.channel = grpc.insecure_channel(address, options)
        self.call = self.channel.unary_unary(METHOD)  # bytes both ways
        self.metadata = (("authorization", f"Bearer {asked.token}"),) if asked.token else None

    def predict(self, images: Sequence[bytes], seconds: float) -> Answer:
        asked = self.asked
        request = messages.predict_request(asked.model, asked.label, asked.signature, INPUT, images)
        try:
            response = self.call(request, timeout=max(seconds, 0.001), metadata=self.metadata)
        except self.failure as error:
            code, details = error.code(), error.details()  # pyright: ignore
            if (
                details and "larger than max" in details
            ):  # gRPC's own words, under a code of the server's
                raise ServingError(
                    f"the answer or the request is too long: {plain(details)}"
                ) from None
            raise error_of(code.name if code else "UNKNOWN", details or "") from None
        outputs = messages.outputs_of(response)
        check_output(outputs)
        return Answer(
            messages.floats(outputs[EMBEDDING]),
            messages.booleans(outputs[TAKEN]) if TAKEN in outputs else None,
            messages.strings(outputs[ENCODER]) if ENCODER in outputs else None,
        )

    def close(self) -> None:
        self.channel.close()


class RestTransport:
    def __init__(self, asked: Asked, batch_size: int):
        self.asked, self.limit = asked, largest_answer(batch_size, "http")
        self.place = connection.Place(asked.host, asked.port, asked.tls_context())
        label = f"/labels/{quote(asked.label, safe='')}" if asked.label else ""
        self.path = f"/v1/models/{quote(asked.model, safe='')}{label}:predict"
        self.headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        if asked.token:
            self.headers["Authorization"] = f"Bearer {asked.token}"

    def predict(self, images: Sequence[bytes], seconds: float) -> Answer:
        given = {INPUT: [{"b64": base64.b64encode(image).decode()} for image in images]}
        request = json.dumps({"signature_name": self.asked.signature, "inputs": given}).encode()
        status, body = connection.post(
            self.place, self.path, request, self.headers, seconds, self.limit
        )
        if status != 200:
            raise error_of(CODE_OF_STATUS.get(status, f"HTTP {status}"), error_text(body))
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            raise ServingError("the answer is no JSON") from None
        outputs = answer.get("outputs") if isinstance(answer, dict) else None
        if isinstance(outputs, list):
            outputs = {EMBEDDING: outputs}  # a signature with one output gives it without its name
        if not isinstance(outputs, dict):
            raise ServingError("the answer is JSON without outputs")
        check_output(outputs)
        return Answer(
            numbers(outputs[EMBEDDING]),
            list_of(outputs[TAKEN], bool, TAKEN) if TAKEN in outputs else None,
            list_of(outputs[ENCODER], str, ENCODER) if ENCODER in outputs else None,
        )

    def close(self) -> None:
        """Every request has a connection of its own."""


def check_output(outputs: dict[str, Any]) -> None:
    if EMBEDDING not in outputs:
        names = plain(", ".join(sorted(outputs))) if outputs else "nothing"
        raise ServingError(f"the signature gives {names} and no '{EMBEDDING}'")


def error_text(body: bytes) -> str:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        return answer["error"]
    return body.decode("utf-8", "replace")


def numbers(rows: object) -> np.ndarray:
    """Returns [rows, numbers] float32; text that looks like numbers is none."""
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise ServingError(f"the answer's '{EMBEDDING}' is no list of rows")
    if any(type(value) not in (float, int) for row in rows for value in row):
        raise ServingError(f"the answer's '{EMBEDDING}' has values that are no numbers")
    if len({len(row) for row in rows}) > 1:
        raise ServingError(f"the answer's '{EMBEDDING}' has rows of different lengths")
    try:
        with np.errstate(over="ignore"):
            return (
                np.array(rows, np.float64)
                .astype(np.float32)
                .reshape(len(rows), -1 if rows and rows[0] else 0)
            )
    except OverflowError:
        raise ServingError(f"the answer's '{EMBEDDING}' has a number that is too large") from None


def list_of(values: object, kind: type, name: str) -> list:
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise ServingError(f"the answer's '{name}' is no list of {kind.__name__}")
    return values
