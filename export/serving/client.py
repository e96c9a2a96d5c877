"""Photos in, embeddings out, from a running tensorflow_model_server.

    pip install -e '.[serving]'
    python client.py --server=grpc://127.0.0.1:8500 --label=stable --out=embeddings.npy photo1.jpg photo2.png
    python client.py --server=http://127.0.0.1:8501 photo1.jpg

A batch is answered or given up within --timeout seconds, all attempts included. What a second attempt may mend (the
server starts, is full, or loses the connection) is tried again, later and later.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from transports import GrpcTransport, RestTransport, ServingError, TransientError

STARTS_OF_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
FIRST_PAUSE = 0.1  # seconds; doubled after every attempt


class Client:
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
    ):
        kinds: dict[str, Callable] = {"grpc": GrpcTransport, "http": RestTransport}
        kind, separator, address = server.partition("://")
        if kind not in kinds or not separator or not address:
            raise ServingError(f"--server={server} is neither grpc://host:port nor http://host:port")
        self.server, self.timeout, self.attempts = server, timeout, attempts
        self.batch_size, self.maximum_image_bytes = batch_size, maximum_image_bytes
        self.transport = kinds[kind](address, model, label, signature)

    def embed(self, images: Sequence[bytes]) -> np.ndarray:
        """Encoded JPEG or PNG images -> [images, dims] float32 of length 1"""
        for number, image in enumerate(images):
            self.check(number, image)
        starts = range(0, len(images), self.batch_size)
        found = [self.embed_batch(images[start : start + self.batch_size]) for start in starts]
        return np.concatenate(found) if found else np.empty((0, 0), np.float32)

    def check(self, number: int, image: bytes) -> None:
        """Before anything is sent: these would fail at the server, and for the others of the batch too."""
        if not image.startswith(STARTS_OF_IMAGES):
            raise ServingError(f"image {number} is neither JPEG nor PNG")
        if len(image) > self.maximum_image_bytes:
            raise ServingError(
                f"image {number} has {len(image) / 1e6:.1f} MB, more than {self.maximum_image_bytes / 1e6:.1f} MB; "
                "make it smaller: the encoder sees few of its pixels"
            )

    def embed_batch(self, images: Sequence[bytes]) -> np.ndarray:
        deadline = time.monotonic() + self.timeout
        pause = FIRST_PAUSE
        for attempt in range(1, self.attempts + 1):
            try:
                embeddings = self.transport.predict(images, deadline - time.monotonic())
                return self.checked(embeddings, len(images))
            except TransientError as error:
                # Some chance in it, so that clients that failed together do not come back together.
                wait = pause * random.uniform(0.5, 1.5)
                if attempt == self.attempts or time.monotonic() + wait >= deadline:
                    raise ServingError(f"{self.server}: {error} (attempt {attempt} of {self.attempts})") from None
                time.sleep(wait)
                pause *= 2
            except ServingError as error:
                raise ServingError(f"{self.server}: {error}") from None
        raise AssertionError("the last attempt returns or raises")

    def checked(self, embeddings: np.ndarray, count: int) -> np.ndarray:
        if embeddings.ndim != 2 or len(embeddings) != count or not np.isfinite(embeddings).all():
            raise ServingError(f"the answer to {count} images has shape {embeddings.shape} or is not finite")
        return embeddings

    def close(self) -> None:
        self.transport.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--server", required=True, help="grpc://host:port or http://host:port")
    parser.add_argument("--model", default="encoder", help="its name in models.config")
    parser.add_argument("--label", help="stable or canary, as in models.config; the highest version without it")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds for a batch, all attempts included")
    parser.add_argument("--batch_size", type=int, default=32, help="images in a request")
    parser.add_argument("--out", type=Path, help="a .npy file for the embeddings; else they are printed")
    given = parser.parse_args()
    try:
        client = Client(given.server, given.model, given.label, timeout=given.timeout, batch_size=given.batch_size)
        embeddings = client.embed([path.read_bytes() for path in given.images])
        client.close()
    except (ServingError, OSError) as error:
        sys.exit(f"error: {error}")
    if given.out:
        np.save(given.out, embeddings)
        print(f"{given.out}: {len(embeddings)} embeddings of {embeddings.shape[1]} dimensions")
    else:
        np.savetxt(sys.stdout, embeddings, fmt="%.6f")


if __name__ == "__main__":
    main()
