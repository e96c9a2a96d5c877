"""Asks a tensorflow_model_server in either of two ways, with the same errors."""

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

INPUT, TAKEN, ENCODER = "image_bytes", "ok", "encoder"
# For new entries, and for queries in the gallery of an older encoder; many encoders have the first
# alone, which is for both.
EMBEDDING, COMPATIBLE = "embedding", "embedding_compatible"
METHOD = "/tensorflow.serving.PredictionService/Predict"
MAXIMUM_REQUEST_BYTES = 512 << 20  # 32 images of 8 MB, and as much again
CA_FILE_BYTES = 1 << 20


@dataclass(frozen=True)
class Asked:
    """Which model of which server, what is shown to it, and which output is wanted."""

    host: str
    port: int
    model: str
    label: str | None
    signature: str
    tls: bool
    ca_file: Path | None  # whose certificates are trusted; those of the system if None
    token: str | None
    output: str | None = None  # where there are both, one has to be named

    def authorities(self) -> bytes | None:
        """Reads the certificates that are trusted; None where they are the system's."""
        if self.ca_file is None:
            return None
        try:
            if not self.ca_file.is_file() or self.ca_file.stat().st_size > CA_FILE_BYTES:
                raise ServingError(f"--ca_file={self.ca_file}: no such file of certificates")
            return self.ca_file.read_bytes()
        except OSError as error:
            raise ServingError(f"--ca_file={self.ca_file}: {error.strerror}") from None

    def tls_context(self) -> ssl.SSLContext | None:
        """Returns what a connection with TLS needs; None where there is none."""
        if not self.tls:
            return None
        try:
            trusted = self.authorities()
            if trusted is None:
                return ssl.create_default_context()
            return ssl.create_default_context(cadata=trusted.decode("ascii"))
        except (ssl.SSLError, ValueError):
            raise ServingError(f"--ca_file={self.ca_file} holds no certificates in PEM") from None


class GrpcTransport:
    """Asks by gRPC."""

    def __init__(self, asked: Asked, batch_size: int):
        import grpc

        self.failure = grpc.RpcError
        self.asked = asked
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
            credentials = grpc.ssl_channel_credentials(asked.authorities())
            self.channel = grpc.secure_channel(address, credentials, options)
        else:
            self.channel = grpc.insecure_channel(address, options)
        self.call = self.channel.unary_unary(METHOD)  # bytes both ways
        self.metadata = None
        if asked.token:
            self.metadata = (("authorization", f"Bearer {asked.token}"),)

    def predict(self, images: Sequence[bytes], seconds: float) -> Answer:
        """Returns the answer to these images, within so many seconds."""
        request = messages.predict_request(
            model=self.asked.model,
            label=self.asked.label,
            signature=self.asked.signature,
            input_name=INPUT,
            images=images,
        )
        try:
            response = self.call(request, timeout=max(seconds, 0.001), metadata=self.metadata)
        except self.failure as error:
            code, details = error.code(), error.details()  # pyright: ignore
            # gRPC's own words, under a code of the server's.
            if details and "larger than max" in details:
                raise ServingError(
                    f"the answer or the request is too long: {plain(details)}"
                ) from None
            raise error_of(code.name if code else "UNKNOWN", details or "") from None
        outputs = messages.outputs_of(response)
        embeddings = messages.floats(outputs[wanted(outputs, self.asked.output)])
        taken = encoders = None
        if TAKEN in outputs:
            taken = messages.booleans(outputs[TAKEN])
        if ENCODER in outputs:
            encoders = messages.strings(outputs[ENCODER])
        return Answer(embeddings, taken, encoders)

    def close(self) -> None:
        """Lets go of the server."""
        self.channel.close()


class RestTransport:
    """Asks by HTTP, in JSON."""

    def __init__(self, asked: Asked, batch_size: int):
        self.asked = asked
        self.limit = largest_answer(batch_size, "http")
        self.place = connection.Place(asked.host, asked.port, asked.tls_context())
        self.path = f"/v1/models/{quote(asked.model, safe='')}"
        if asked.label:
            self.path += f"/labels/{quote(asked.label, safe='')}"
        self.path += ":predict"
        self.headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        if asked.token:
            self.headers["Authorization"] = f"Bearer {asked.token}"

    def predict(self, images: Sequence[bytes], seconds: float) -> Answer:
        """Returns the answer to these images, within so many seconds."""
        encoded = [{"b64": base64.b64encode(image).decode()} for image in images]
        request = {"signature_name": self.asked.signature, "inputs": {INPUT: encoded}}
        status, body = connection.post(
            place=self.place,
            path=self.path,
            content=json.dumps(request).encode(),
            headers=self.headers,
            seconds=seconds,
            limit=self.limit,
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
        name = wanted(outputs, self.asked.output)
        embeddings = numbers(outputs[name], name)
        taken = encoders = None
        if TAKEN in outputs:
            taken = list_of(outputs[TAKEN], bool, TAKEN)
        if ENCODER in outputs:
            encoders = list_of(outputs[ENCODER], str, ENCODER)
        return Answer(embeddings, taken, encoders)

    def close(self) -> None:
        """Does nothing, for every request has a connection of its own."""


def wanted(outputs: dict[str, Any], asked: str | None) -> str:
    """Returns the name of the output that is asked for.

    Raises where the answer has no embeddings, or has both kinds and none is asked for.
    """
    check_output(outputs)
    if COMPATIBLE not in outputs:
        return EMBEDDING
    if asked is None:
        raise ServingError(
            f"the encoder gives '{EMBEDDING}', for new entries, and '{COMPATIBLE}', for queries in "
            "the old gallery; say which you need with --output"
        )
    return asked


def check_output(outputs: dict[str, Any]) -> None:
    """Raises where the answer has no embeddings."""
    if EMBEDDING not in outputs:
        names = "nothing"
        if outputs:
            names = plain(", ".join(sorted(outputs)))
        raise ServingError(f"the signature gives {names} and no '{EMBEDDING}'")


def error_text(body: bytes) -> str:
    """Returns what an answer says of an error."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        return answer["error"]
    return body.decode("utf-8", "replace")


def numbers(rows: object, name: str) -> np.ndarray:
    """Returns [rows, numbers] float32; text that looks like numbers is none."""
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise ServingError(f"the answer's '{name}' is no list of rows")
    for row in rows:
        if any(type(value) not in (float, int) for value in row):
            raise ServingError(f"the answer's '{name}' has values that are no numbers")
    for row in rows:
        if len(row) != len(rows[0]):
            raise ServingError(f"the answer's '{name}' has rows of different lengths")
    try:
        values = np.array(rows, np.float64)
        with np.errstate(over="ignore"):
            found = values.astype(np.float32)
    except OverflowError:
        raise ServingError(f"the answer's '{name}' has a number that is too large") from None
    dims = len(rows[0]) if rows else 0
    return found.reshape(len(rows), dims)


def list_of(values: object, kind: type, name: str) -> list:
    """Returns an output that has to be a list of this kind."""
    refusal = ServingError(f"the answer's '{name}' is no list of {kind.__name__}")
    if not isinstance(values, list):
        raise refusal
    for value in values:
        if type(value) is not kind:
            raise refusal
    return values
