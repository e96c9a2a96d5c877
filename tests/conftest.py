import bct_keras  # noqa: F401 -- before TensorFlow, as in the commands: it sets the allocator

# isort: split

import gc
import io
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from PIL import Image

from bct_keras import command
from bct_keras.distribution import strategy
from bct_keras.prepare.run import prepare

sys.path.insert(0, str(Path(__file__).parent))  # where tests find forked.py
LONG_SECONDS = 10


def pytest_configure(config):
    """Two logical CPU devices for tests of replicas: TensorFlow's devices can be set only before it
    starts.
    """
    if not config.getoption("numprocesses", None):  # xdist's controller runs no test itself
        strategy.divide_cpu(2)


def pytest_xdist_make_scheduler(config, log):
    """A file's tests stay with one worker, which makes their fixtures once; workers take files in
    the order below.
    """
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # xdist's own order is by the number of tests
    return LoadFileScheduling(config, log)


def pytest_collection_modifyitems(items):
    """Puts files that take long first, so that no worker is left alone with one at the end."""

    def seconds(item) -> float:
        mark = item.get_closest_marker("seconds")
        return mark.args[0] if mark else 0.0

    items.sort(key=seconds, reverse=True)  # a stable sort, in which equals keep their order


def pytest_collection_finish():
    """A million objects of TensorFlow and Keras stay to the end: no collection of garbage looks at
    them again.
    """
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter):
    """Names tests that should be marked long; on a busy machine others are named too, so that none
    fails by it.
    """
    passed = terminalreporter.stats.get("passed", [])
    unmarked = [
        report
        for report in passed
        if report.duration > LONG_SECONDS and "long" not in report.keywords
    ]
    if unmarked:
        terminalreporter.section(f"more than {LONG_SECONDS} s and not marked long")
        for report in sorted(unmarked, key=lambda report: report.duration, reverse=True):
            terminalreporter.line(f"{report.duration:6.1f} s  {report.nodeid}")


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.Strategy:
    """One for all tests: a second one would number its collective operations as the first did, and
    both fail.
    """
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def data_root(tmp_path_factory) -> Path:
    """72 images of 28 pixels, 12 identities of 6 images: 2 in the view old, 6 in new, 4 in test."""
    root = tmp_path_factory.mktemp("data") / "faces"
    prepare(
        "synthetic(identities=12, images=6, image_size=28)",
        "class(old_share=0.3, test_share=0.34)",
        root,
    )
    return root


@pytest.fixture(scope="session")
def tiny_encoder_path(tmp_path_factory) -> Callable[[int], Path]:
    """Makes the .keras file of an encoder of 28-pixel images: the mean colour, through a fixed
    matrix.
    """

    def make(dims: int) -> Path:
        path = tmp_path_factory.mktemp("encoder") / f"mean_colour_{dims}.keras"
        image = keras.Input((28, 28, 3))
        colour = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
        start = keras.initializers.RandomNormal(seed=dims)
        embedding = keras.layers.Dense(dims, kernel_initializer=start)(colour)  # pyright: ignore[reportArgumentType]
        keras.Model(image, embedding).save(path)
        return path

    return make


@pytest.fixture(scope="session")
def small_jpeg() -> Callable[[int], bytes]:
    """A 16 x 16 image, another one for each number."""

    def make(number: int) -> bytes:
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG")
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def write_recordio() -> Callable[[Path, Sequence[tuple[tuple[float, ...], bytes]]], list[int]]:
    """Writes train.rec and train.idx, as MXNet does for payloads without the magic; returns where
    records start.
    """

    def write(folder: Path, records: Sequence[tuple[tuple[float, ...], bytes]]) -> list[int]:
        folder.mkdir(parents=True, exist_ok=True)
        content, starts = b"", []
        for key, (labels, image) in enumerate(records):
            starts.append(len(content))
            payload = struct.pack(f"<IfQQ{len(labels)}f", len(labels), 0, key, 0, *labels) + image
            content += (
                struct.pack("<II", 0xCED7230A, len(payload)) + payload + bytes(-len(payload) % 4)
            )
        (folder / "train.rec").write_bytes(content)
        (folder / "train.idx").write_text(
            "".join(f"{key}\t{start}\n" for key, start in enumerate(starts))
        )
        return starts

    return write


@pytest.fixture(scope="session")
def insightface_records(small_jpeg) -> list[tuple[tuple[float, ...], bytes]]:
    """Images 1, 3 and 2 of three identities, with the header and the ranges that InsightFace writes
    around them.
    """
    identities = (0, 1, 1, 1, 2, 2)
    images = [
        ((float(identity), 0.0), small_jpeg(number)) for number, identity in enumerate(identities)
    ]
    return [((7.0, 10.0), b""), *images, ((1.0, 2.0), b""), ((2.0, 5.0), b""), ((5.0, 7.0), b"")]


@pytest.fixture
def here(capsys) -> Callable[..., tuple[int, str, str]]:
    """A command in this process: exit status, output and errors."""

    def run(module: ModuleType, *arguments: str) -> tuple[int, str, str]:
        known = set(flags.FLAGS)
        module.define_flags()
        status = 0
        capsys.readouterr()
        try:
            command.guarded(module.main, flags.FLAGS([module.__name__, *arguments]))
        except SystemExit as stop:
            status = int(stop.code or 0)
        finally:
            for name in set(flags.FLAGS) - known:
                delattr(flags.FLAGS, name)
            flags.FLAGS.unparse_flags()
        return status, *capsys.readouterr()

    return run
