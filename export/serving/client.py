"""Photos in, embeddings out, from a running tensorflow_model_server.

    pip install numpy grpcio     (numpy alone for http and https)
    python client.py --server=grpc://127.0.0.1:8500 --label=stable --out=embeddings.npy a.jpg b.png
    python client.py --server=https://encoder.example.org --ca_file=ca.pem --expect=exported a.jpg

The images are sent in batches. A batch is answered or given up within --timeout seconds, all
attempts included. Where another attempt may help (the server starts, is full, or loses the
connection), the batch is sent again, each time after a longer pause. A photo that the server does
not take has a row of NaN. The command names this photo and ends with status 1.

An encoder may give two embeddings of a photo. `embedding` is for new entries, and for queries among
them. `embedding_compatible` is for queries in the gallery of the older encoder. The two may look
alike and cannot be compared, so an answer with both is refused until --output names one. An encoder
with one embedding gives it for either name.

Every answer names the encoder that made it. Answers by two encoders are refused, since a label may
be given to another version at any moment. --expect refuses embeddings of any other encoder than the
one it names: by the folder that `python -m bct_keras.export` wrote, or by `served_name` in the
manifest.json of that folder.

A token is read from --token_file, or else from the environment variable BCT_SERVING_TOKEN. It is
sent over TLS alone (grpcs, https), but for a server on this machine.
"""

import argparse
import json
import math
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from answer import Embedded, checked
from errors import ServingError, TransientError, plain
from transports import COMPATIBLE, EMBEDDING, Asked, GrpcTransport, RestTransport

STARTS_OF_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
FIRST_PAUSE = 0.1  # seconds; doubled after every attempt
TRANSPORTS = {
    "grpc": GrpcTransport,
    "grpcs": GrpcTransport,
    "http": RestTransport,
    "https": RestTransport,
}
PORTS = {"http": 80, "https": 443}
ON_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
TOKEN_VARIABLE = "BCT_SERVING_TOKEN"
SMALL_FILE_BYTES = 1 << 24  # a token, or an export's manifest


class Client:
    """Asks one model of one server.

    Args:
        server: grpc://host:port, grpcs://host:port, http://host[:port] or https://host[:port]; the
            s is for TLS.
        model: The model's name in models.config.
        label: stable or canary, as in models.config; the highest version without it.
        signature: The model's signature that takes encoded images.
        timeout: Seconds for a batch, all attempts included.
        attempts: How often a batch is sent at most.
        batch_size: Images in a request.
        maximum_image_bytes: A larger image is not sent.
        ca_file: Certificates in PEM that are trusted with TLS; those of the system without it.
        token: Shown to the server as a bearer token.
        expect: The name that the encoder behind every answer must have; any one without it.
        output: embedding or embedding_compatible; needed where the encoder gives both.
    """

    def __init__(
        self,
        server: str,
        model: str = "encoder",
        label: str | None = None,
        signature: str = "serving_default",
        timeout: float = 5.0,
        attempts: int = 4,
        batch_size: int = 32,
        maximum_image_bytes: int = 8_000_000,
        ca_file: Path | None = None,
        token: str | None = None,
        expect: str | None = None,
        output: str | None = None,
    ):
        kind, host, port = parts_of(server)
        tls = kind.endswith("s")
        if not (math.isfinite(timeout) and timeout > 0):
            raise ServingError(f"--timeout={timeout}: a number of seconds above 0 is needed")
        if output not in (None, EMBEDDING, COMPATIBLE):
            raise ServingError(f"--output={output}: {EMBEDDING} or {COMPATIBLE} is needed")
        if batch_size < 1:
            raise ServingError(f"--batch_size={batch_size}: at least 1 is needed")
        if ca_file and not tls:
            raise ServingError(
                f"--ca_file goes with {kind}s://, and --server={server} is without TLS"
            )
        if token and not tls and host not in ON_THIS_MACHINE:
            raise ServingError(
                f"the token would be sent in clear; use {kind}s:// in --server={server}"
            )
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            raise ServingError(
                "the token has letters that none has: spaces, line ends, or others than ASCII"
            )
        self.server = server
        self.timeout = timeout
        self.attempts = attempts
        self.batch_size = batch_size
        self.maximum_image_bytes = maximum_image_bytes
        self.expect = expect
        asked = Asked(host, port, model, label, signature, tls, ca_file, token, output)
        self.transport = TRANSPORTS[kind](asked, batch_size)

    def embed(self, images: Sequence[bytes], names: Sequence[str] | None = None) -> np.ndarray:
        """Embeds encoded JPEG or PNG images.

        Args:
            images: the bytes of each.
            names: what an error calls them; "image 0" and so on without.

        Returns:
            [images, dims] float32 of length 1, with a row of NaN for an image that the server does
            not take.
        """
        names = names or [f"image {number}" for number in range(len(images))]
        for image, name in zip(images, names, strict=True):
            self.check(image, name)
        if not images:
            return np.empty((0, 0), np.float32)
        batches = []
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            batches.append(self.embed_batch(batch))
        self.check_by_one_encoder(batches)
        return np.concatenate([batch.embeddings for batch in batches])

    def check_by_one_encoder(self, batches: Sequence[Embedded]) -> None:
        """Raises where the answers cannot be compared.

        A label may be given to another version between two batches.
        """
        encoders = {batch.encoder for batch in batches}
        if len(encoders) > 1:
            raise ServingError(
                f"{self.server}: the answers are by {len(encoders)} encoders: the label was given "
                "to another version meanwhile; ask again"
            )
        dims = {batch.embeddings.shape[1] for batch in batches}
        if len(dims) > 1:
            raise ServingError(
                f"{self.server}: the answers have embeddings of different dimensions"
            )

    def check(self, image: bytes, name: str) -> None:
        """Raises for an image that the server would refuse, before anything is sent."""
        if not image.startswith(STARTS_OF_IMAGES):
            raise ServingError(f"{name} is neither JPEG nor PNG")
        if len(image) > self.maximum_image_bytes:
            megabytes, most = len(image) / 1e6, self.maximum_image_bytes / 1e6
            raise ServingError(
                f"{name} has {megabytes:.1f} MB, more than {most:.1f} MB; make it smaller: the "
                "encoder sees few of its pixels"
            )

    def embed_batch(self, images: Sequence[bytes]) -> Embedded:
        """Embeds images that are shown to the server together."""
        deadline = time.monotonic() + self.timeout
        pause = FIRST_PAUSE
        for attempt in range(1, self.attempts + 1):
            try:
                answer = self.transport.predict(images, deadline - time.monotonic())
                return checked(answer, len(images), self.expect)
            except TransientError as error:
                # Some chance in it, so that clients that failed together do not come back together.
                wait = pause * random.uniform(0.5, 1.5)
                if attempt == self.attempts or time.monotonic() + wait >= deadline:
                    raise ServingError(
                        f"{self.server}: {error} (attempt {attempt} of {self.attempts})"
                    ) from None
                time.sleep(wait)
                pause *= 2
            except ServingError as error:
                raise ServingError(f"{self.server}: {error}") from None
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        self.transport.close()


def parts_of(server: str) -> tuple[str, str, int]:
    """Returns the kind, the host and the port."""
    wanted = "one of grpc://host:port, grpcs://host:port, http://host:port, https://host:port"
    try:
        parts = urlsplit(server)
        host = parts.hostname
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        raise ServingError(f"--server={server!r} is not {wanted}") from None
    is_known = parts.scheme in TRANSPORTS
    has_user = "@" in parts.netloc
    without_path = f"{parts.scheme}://{parts.netloc}"
    has_more = server.removesuffix("/") != without_path or not server.isprintable()
    if not (is_known and host and port) or has_user or has_more:
        raise ServingError(f"--server={server!r} is not {wanted}")
    return parts.scheme, host, port


def token_of(file: Path | None) -> str | None:
    """Returns the token of the file, or else of the environment variable."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip() or None
    token = small_file(file, "token_file").strip()
    if not token:
        raise ServingError(f"--token_file={file} is empty")
    return token


def expected_encoder(given: str | None) -> str | None:
    """Returns the name of an encoder, which may be given as the folder of its export."""
    folder = Path(given) if given else None
    if folder is None or not folder.is_dir():
        return given
    try:
        manifest = json.loads(small_file(folder / "manifest.json", "expect"))
    except (ValueError, RecursionError):
        raise ServingError(f"--expect={folder}: its manifest.json is damaged") from None
    name = manifest.get("served_name") if isinstance(manifest, dict) else None
    if not isinstance(name, str):
        raise ServingError(
            f"--expect={folder} does not name an encoder that is served; export it anew"
        )
    return name


def small_file(path: Path, option: str) -> str:
    """Reads a small text file that a flag names."""
    try:
        if not path.is_file() or path.stat().st_size > SMALL_FILE_BYTES:
            raise ServingError(f"--{option}: {path} is not there, or no such file")
        return path.read_text()
    except OSError as error:
        raise ServingError(f"--{option}: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ServingError(f"--{option}: {path} is not text") from None


def write(path: Path, embeddings: np.ndarray) -> None:
    """Writes embeddings beside their place and renames them into it.

    So half a file is never found there.
    """
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        np.save(file, embeddings)
    os.replace(partial, path)


def flags() -> argparse.ArgumentParser:
    """Returns what the command takes."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument(
        "--server",
        required=True,
        help="grpc://host:port or http://host:port; grpcs, https with TLS",
    )
    parser.add_argument("--model", default="encoder", help="its name in models.config")
    parser.add_argument(
        "--label", help="stable or canary, as in models.config; the highest version without it"
    )
    parser.add_argument(
        "--timeout", type=float, default=5.0, help="seconds for a batch, all attempts included"
    )
    parser.add_argument("--batch_size", type=int, default=32, help="images in a request")
    parser.add_argument(
        "--ca_file", type=Path, help="certificates to trust, in PEM; the system's without it"
    )
    parser.add_argument(
        "--token_file", type=Path, help=f"holds a bearer token; {TOKEN_VARIABLE} does without it"
    )
    parser.add_argument(
        "--expect", help="the export's folder, or its served_name: another encoder is refused"
    )
    parser.add_argument(
        "--output",
        choices=(EMBEDDING, COMPATIBLE),
        help="for new entries, or for queries in the old gallery; needed where there are both",
    )
    parser.add_argument(
        "--out", type=Path, help="a .npy file for the embeddings; else they are printed"
    )
    return parser


def main() -> None:
    """Embeds the images that the flags name."""
    given = flags().parse_args()
    try:
        client = Client(
            given.server,
            given.model,
            given.label,
            timeout=given.timeout,
            batch_size=given.batch_size,
            ca_file=given.ca_file,
            token=token_of(given.token_file),
            expect=expected_encoder(given.expect),
            output=given.output,
        )
        names = [plain(str(path)) for path in given.images]
        images = [path.read_bytes() for path in given.images]
        embeddings = client.embed(images, names)
        client.close()
        if given.out:
            write(given.out, embeddings)
    except (ServingError, OSError) as error:
        sys.exit(f"error: {error}")
    if given.out:
        print(f"{given.out}: {len(embeddings)} embeddings of {embeddings.shape[1]} dimensions")
    else:
        np.savetxt(sys.stdout, embeddings, fmt="%.6f")
    refused = []
    for name, row in zip(names, embeddings, strict=True):
        if np.isnan(row).any():
            refused.append(f"error: {name}: the server cannot decode it, or it has too many pixels")
    if refused:
        sys.exit("\n".join(refused))


if __name__ == "__main__":
    main()
