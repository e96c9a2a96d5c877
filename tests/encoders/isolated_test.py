"""A .tflite or .onnx file of others can kill, hang or flood no process but its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bct_keras.encoders import child, isolated, load_encoder
from bct_keras.encoders.shapes import LARGEST_SIZE
from bct_keras.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
import foreign

# A model whose file has two bytes changed: LiteRT 2.3 reads where nothing is when it runs.
CRASHES = Path(__file__).parent.parent / "golden" / "crashes.tflite"
ALONE = """
import sys, numpy
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(model_path=sys.argv[1])
model.allocate_tensors()
(given,) = model.get_input_details()
model.set_tensor(given["index"], numpy.zeros(given["shape"], given["dtype"]))
model.invoke()
"""


def images(count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(
        0, 256, (count, foreign.SIZE, foreign.SIZE, 3), np.uint8
    )


@pytest.fixture(scope="module")
def tflite(tmp_path_factory) -> Path:
    return foreign.write_tflite(tmp_path_factory.mktemp("isolated") / "old.tflite")


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        load_encoder(path)
    (line,) = str(error.value).splitlines()
    return line


def test_a_file_that_kills_its_process_is_a_line():
    alone = subprocess.run(
        [sys.executable, "-c", ALONE, str(CRASHES)], check=False, capture_output=True
    )
    if alone.returncode >= 0:
        pytest.skip("this LiteRT is not killed by it")
    line = refused(CRASHES)
    assert line.startswith(
        f"{CRASHES} cannot be loaded as a TFLite encoder: the process that runs it died of SIG"
    )


def test_a_death_while_it_embeds_is_a_line_and_the_next_encoder_works(tflite):
    encoder = load_encoder(tflite)
    expected = encoder.embed(images())
    os.kill(encoder.child.process.pid, signal.SIGSEGV)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(
        InputError, match=r"old\.tflite cannot embed 2 images of 16 pixels: .* died of SIGSEGV"
    ):
        encoder.embed(images())
    np.testing.assert_array_equal(load_encoder(tflite).embed(images()), expected)


def test_a_file_that_hangs_is_given_up(tflite, monkeypatch):
    encoder = load_encoder(tflite)
    os.kill(encoder.child.process.pid, signal.SIGSTOP)  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setattr(isolated, "BATCH_SECONDS", 0.3)
    monkeypatch.setattr(isolated, "SLOWER_THAN_FIRST", 0.0)
    with pytest.raises(InputError, match="it takes too long"):
        encoder.embed(images())


@pytest.fixture
def two_seconds_to_load(tmp_path, monkeypatch) -> None:
    """Writes the script of the process so that it has two seconds of the processor, not ten."""
    code = Path(child.__file__).read_text()
    line, seconds = f"LOAD_SECONDS = {child.LOAD_SECONDS} ", 2
    assert line in code
    script = tmp_path / "child.py"
    script.write_text(code.replace(line, f"LOAD_SECONDS = {seconds} "))
    monkeypatch.setattr(child, "__file__", str(script))
    monkeypatch.setattr(child, "LOAD_SECONDS", seconds)


@pytest.mark.usefixtures("two_seconds_to_load")
def test_a_graph_without_end_takes_no_more_than_its_seconds(tmp_path):
    """Runs a loop that nothing ends, met by the first image, which is part of loading."""

    @tf.function(input_signature=[tf.TensorSpec((None, 16, 16, 3), tf.float32)])
    def run(image):
        start = (0.0, tf.reduce_mean(image, [1, 2]))
        _, colour = tf.while_loop(
            lambda count, _: count < 1.0, lambda count, one: (count, tf.cos(one)), start
        )
        return colour

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [run.get_concrete_function()], tf.Module()
    )
    (tmp_path / "endless.tflite").write_bytes(converter.convert())
    start = time.process_time()
    line = refused(tmp_path / "endless.tflite")
    of_the_processor = f"it takes more than {child.LOAD_SECONDS} s of the processor to load"
    assert (
        of_the_processor in line or "it takes too long" in line
    )  # by the clock, where many share the processor
    assert time.process_time() - start < 5  # of this process


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux keeps a limit of memory"
)
def test_a_small_file_that_needs_gigabytes_is_refused(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec((None, 16, 16, 3), tf.float32)])
    def run(image):
        wide = tf.tile(tf.reshape(image, [-1, 768]), [1, 1_000_000])  # 3 GB for one image
        return tf.reduce_max(tf.reshape(wide, [-1, 256_000_000, 3]), 1)

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [run.get_concrete_function()], tf.Module()
    )
    (tmp_path / "wide.tflite").write_bytes(converter.convert())
    assert "wide.tflite cannot be loaded as a TFLite encoder: " in refused(tmp_path / "wide.tflite")


def test_an_answer_with_another_number_of_rows_is_refused(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec((None, 16, 16, 3), tf.float32)])
    def run(image):
        return tf.reshape(image, [-1, 384])  # two rows an image

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [run.get_concrete_function()], tf.Module()
    )
    (tmp_path / "rows.tflite").write_bytes(converter.convert())
    said = r"answers 1 images with 2 x 384 and not with 1 embeddings of 384 dimensions"
    with pytest.raises(InputError, match=said):
        load_encoder(tmp_path / "rows.tflite")


def test_the_same_of_a_saved_model_and_a_keras_file(tmp_path):
    import keras

    module: Any = tf.Module()
    module.serve = tf.function(
        lambda image: {"embedding": tf.reshape(image, [-1, 384])},
        input_signature=[tf.TensorSpec((None, 16, 16, 3), tf.float32)],
    )
    tf.saved_model.save(
        module, str(tmp_path / "rows"), signatures={"serving_default": module.serve}
    )
    image = keras.Input((16, 16, 3))
    keras.Model(image, keras.ops.reshape(image, (-1, 384))).save(tmp_path / "rows.keras")
    for name in ("rows", "rows.keras"):
        with pytest.raises(
            InputError, match=r"answers 2 images with 4 x 384 and not with 2 embeddings"
        ):
            load_encoder(tmp_path / name).embed(images())


def test_a_file_of_huge_images_is_refused_before_memory_is_taken(tmp_path):
    side = LARGEST_SIZE + 1

    @tf.function(input_signature=[tf.TensorSpec((1, side, side, 3), tf.float32)])
    def run(image):
        return tf.reduce_mean(image, [1, 2])

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [run.get_concrete_function()], tf.Module()
    )
    (tmp_path / "huge.tflite").write_bytes(converter.convert())
    assert "is no encoder of square colour images" in refused(tmp_path / "huge.tflite")


def test_the_process_ends_with_its_encoder(tflite):
    encoder = load_encoder(tflite)
    process = encoder.child.process  # pyright: ignore[reportAttributeAccessIssue]
    assert process.poll() is None
    del encoder
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is not None


def test_an_image_at_a_time_costs_no_new_process(tflite):
    encoder = load_encoder(tflite)
    process = encoder.child.process  # pyright: ignore[reportAttributeAccessIssue]
    whole = encoder.embed(images(5))
    one_by_one = [encoder.embed(image[None])[0] for image in images(5)]
    np.testing.assert_allclose(one_by_one, whole, rtol=1e-4, atol=1e-3)
    assert encoder.child.process is process  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("write", [foreign.write_tflite, foreign.write_onnx])
def test_damaged_files_are_lines(tmp_path, write):
    suffix = "tflite" if write is foreign.write_tflite else "onnx"
    content = write(tmp_path / f"old.{suffix}").read_bytes()
    random = np.random.default_rng(0)
    told = []
    for trial in range(6):
        damaged = bytearray(content[: random.integers(1, len(content))] if trial % 2 else content)
        for place in random.integers(0, min(len(damaged), 2000), 8):
            damaged[place] = random.integers(256)
        path = tmp_path / f"damaged.{suffix}"
        path.write_bytes(bytes(damaged))
        try:
            load_encoder(path).embed(images())
        except InputError as error:
            told.append(str(error))
    assert told
    assert all(len(line.splitlines()) == 1 and str(path) in line for line in told)
