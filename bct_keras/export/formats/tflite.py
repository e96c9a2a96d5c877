"""Writes TFLite files for devices.

They take pixels of 0..255 as uint8 and give embeddings of length 1. A device's file takes one image
at a time: LiteRT.js, MediaPipe and the accelerators of phones refuse a batch of any size.
"""

import contextlib
import math
import re
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras import no_standard_error
from bct_keras.errors import InputError, option
from bct_keras.export.formats.device_layers import fast_in_int8
from bct_keras.export.formats.flatbuffer import rewrite
from bct_keras.export.formats.format import Source

ONE_IMAGE = 1
ANY_BATCH = None
CALIBRATION_IMAGES = 1024
SENSITIVITY_IMAGES = 16
# In eight bits a coordinate of 512 would have six values; LiteRT fixes that scale.
ALWAYS_FLOAT = ["L2_NORMALIZATION"]
ERROR = "error share"
VERIFIED = re.compile(r"^NumericVerify/(.*?)\d?:\d+$", re.DOTALL)


class Device(tf.Module):
    """The function that a device calls: pixels as uint8 in, embeddings out.

    Args:
        source: What is exported.
        model: What embeds.
        batch: How many images it takes at a time; None: any number, 1 at first.
    """

    def __init__(self, source: Source, model: Any, batch: int | None):
        super().__init__()
        self.weights = [weight.value for weight in model.weights]
        size = source.encoder.image_size

        def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
            pixels = tf.cast(image, tf.float32)
            return source.outputs(model, pixels)

        pixels = tf.TensorSpec((batch, size, size, 3), tf.uint8, name="image")
        self.serve = tf.function(serve, input_signature=[pixels])


@contextlib.contextmanager
def converter(source: Source, model: Any, batch: int | None = ONE_IMAGE) -> Iterator[Any]:
    """Yields TensorFlow's converter of a model."""
    with tempfile.TemporaryDirectory() as folder:
        device = Device(source, model, batch)
        signatures = {"serving_default": device.serve}
        tf.saved_model.save(device, folder, signatures=signatures)
        yield tf.lite.TFLiteConverter.from_saved_model(folder)


def converted(convert: Any) -> bytes:
    """Returns the file's content; what the converter writes of its own working is left out."""
    with no_standard_error():
        return convert.convert()


def finish(content: bytes, source: Source, numbers: str, path: Path) -> None:
    """Writes the file with its facts."""
    facts = source.facts() | {"numbers": numbers}
    path.write_bytes(rewrite(content, facts))


def write_float32(source: Source, path: Path) -> None:
    """Writes the numbers as they are."""
    with converter(source, source.encoder.model) as convert:
        content = converted(convert)
    finish(content, source, "float32", path)


def write_batch(source: Source, path: Path) -> None:
    """Writes the numbers as they are, for a server: any number of images at a time."""
    with converter(source, source.encoder.model, ANY_BATCH) as convert:
        content = converted(convert)
    finish(content, source, "float32", path)


def write_float16(source: Source, path: Path) -> None:
    """Writes weights in 16 bits."""
    with converter(source, source.encoder.model) as convert:
        convert.optimizations = [tf.lite.Optimize.DEFAULT]
        convert.target_spec.supported_types = [tf.float16]
        content = converted(convert)
    finish(content, source, "float16 weights", path)


def write_dynamic(source: Source, path: Path) -> None:
    """Writes weights in eight bits; activations are quantised as they come."""
    with converter(source, source.encoder.model) as convert:
        convert.optimizations = [tf.lite.Optimize.DEFAULT]
        content = converted(convert)
    finish(content, source, "int8 weights, activations quantised as they come", path)


def write_int8(source: Source, path: Path) -> None:
    """Writes weights and activations in eight bits.

    Weights have a scale for each channel, activations the ranges that calibration saw.
    """
    images = calibration_images(source)
    with converter(source, fast_in_int8(source.encoder.model)) as convert:
        convert.optimizations = [tf.lite.Optimize.DEFAULT]
        convert.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        convert.representative_dataset = lambda: one_by_one(images)
        content, kept = quantised(convert, images, source.kept_float)
    numbers = f"int8, but {kept} operations in float32" if kept else "int8"
    finish(content, source, numbers, path)


def one_by_one(images: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Yields images as inputs of a model: batches of one."""
    for image in images:
        yield [image[None]]


def quantised(convert: Any, images: np.ndarray, kept_float: float) -> tuple[bytes, int]:
    """Returns the file's content, and how many operations were kept in float."""
    debug = tf.lite.experimental.QuantizationDebugOptions
    with no_standard_error(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the debugger still runs TensorFlow's own interpreter
        debugger: Any = tf.lite.experimental.QuantizationDebugger(
            converter=convert,
            debug_dataset=lambda: one_by_one(images[:SENSITIVITY_IMAGES]),
            debug_options=debug(
                layer_direct_compare_metrics={ERROR: error_share}, denylisted_ops=ALWAYS_FLOAT
            ),
        )
        if not kept_float:
            return debugger.get_nondebug_quantized_model(), 0
        debugger.run()
        sensitive = most_sensitive(debugger.layer_statistics, kept_float)
        debugger.options = debug(denylisted_ops=ALWAYS_FLOAT, denylisted_nodes=sensitive)
        return debugger.get_nondebug_quantized_model(), len(sensitive)


def error_share(exact: np.ndarray, found: np.ndarray, scale: float, zero_point: int) -> float:
    """Returns what rounding adds to an operation's output.

    It is mean (found - exact)^2 / mean exact^2.
    """
    meant = scale * (found.astype(np.float32) - zero_point)
    added = np.mean((meant - exact) ** 2)
    size = np.mean(exact**2)
    share = added / max(size, 1e-30)
    return float(share)


def most_sensitive(statistics: dict[str, dict[str, float]], share: float) -> list[str]:
    """Returns the output tensors of those operations that lose most, by name."""
    ordered = sorted(statistics, key=lambda name: statistics[name][ERROR], reverse=True)
    count = math.ceil(share * len(ordered))
    # NumericVerify/NAME1:12, where 1 tells the quantised output from the exact one and 12 is its
    # number
    return [VERIFIED.sub(r"\1", name) for name in ordered[:count]]


def calibration_images(source: Source) -> np.ndarray:
    """Returns the images that give activations their ranges, [images, size, size, 3] uint8."""
    if source.calibration is None:
        raise InputError(
            f"int8 needs {option('calibration')}, a data set of images like those it will see"
        )
    found: list[np.ndarray] = []
    for batch in source.encoder.images_of(source.calibration):
        found.append(batch["image"].numpy())
        if sum(len(batch) for batch in found) >= CALIBRATION_IMAGES:
            break
    images = np.concatenate(found)[:CALIBRATION_IMAGES]
    # One black and one white pixel, so that the input's scale is exactly 1: a pixel is passed on as
    # it is.
    images[:, 0, 0] = 0
    images[:, -1, -1] = 255
    return images
