"""Serves the page of export/edge/web/, names the browser that opens it, and makes an encoder."""

import contextlib
import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from bct_keras.export.formats.format import Source
from bct_keras.export.run import Checks, export, keras_encoder

SIZE, DIMS = 64, 128  # of the encoder
WEB = Path(__file__).parents[2] / "export" / "edge" / "web"


class MissingError(Exception):
    """Something that a browser needs to open the page is not installed."""


def chromium() -> str:
    """Returns the browser's program; MissingError where it, Node or a package is not there."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if not program or not shutil.which("node"):
        raise MissingError("there is no Chromium (chromium) or no Node (node)")
    for package in ("@litertjs/core", "playwright-core"):
        if not (WEB / "node_modules" / package).is_dir():
            raise MissingError(f"{package} is missing: npm install --prefix export/edge/web")
    return program


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and writes no line for each."""

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextlib.contextmanager
def served() -> Iterator[str]:
    """Yields the address of the page."""
    handler = functools.partial(Quiet, directory=str(WEB))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/index.html"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def write_encoder(folder: Path) -> Path:
    """Writes a small encoder as encoder.keras and as encoder.tflite; returns the second."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Rescaling(1 / 127.5, -1.0),
            keras.layers.Conv2D(16, 5, strides=4, activation="relu"),
            keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(DIMS),
        ]
    )
    model.save(folder / "encoder.keras")
    source = Source(keras_encoder(folder / "encoder.keras"))
    export(source, ["tflite"], folder / "exported", Checks())
    return (folder / "exported" / "encoder.tflite").rename(folder / "encoder.tflite")
