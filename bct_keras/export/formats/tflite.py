"""Writes TFLite files for devices.

They take pixels of 0..255 as uint8 and give embeddings of length 1. A device's file takes one image
at a time: LiteRT.js, MediaPipe and the accelerators of phones refuse a batch of any size.
"""

import contextlib
import tempfile
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
from bct_keras.export.formats.tflite_int8 import quantised

ONE_IMAGE = 1
ANY_BATCH = None
CALIBRATION_IMAGES = 1024


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
        self.serve = tf.function(serve, input_signature=[pixels], autograph=False)


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
        exact = converted(convert)
    content, kept = quantised(exact, images, source.kept_float)
    numbers = f"int8, but {kept} operations in float32" if kept else "int8"
    finish(content, source, numbers, path)


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
