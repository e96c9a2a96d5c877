"""TFLite files for devices: pixels of 0..255 as uint8 in, one embedding of length 1 out, for any batch, 1 at first."""

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras.errors import InputError
from bct_keras.formats.device_layers import fast_in_int8
from bct_keras.formats.flatbuffer import rewrite
from bct_keras.formats.format import Source

CALIBRATION_IMAGES = 256
SENSITIVITY_IMAGES = 16
# In eight bits a coordinate of 512 would have six values; LiteRT fixes that scale.
ALWAYS_FLOAT = ["L2_NORMALIZATION"]


class Device(tf.Module):
    def __init__(self, source: Source, model: Any, dtype: tf.DType):
        super().__init__()
        self.weights = [weight.value for weight in model.weights]
        size, dims = source.encoder.image_size, source.encoder.compatible_dims
        self.serve = tf.function(
            lambda image: {"embedding": source.embedding(model, tf.cast(image, tf.float32), dims)},
            input_signature=[tf.TensorSpec((None, size, size, 3), dtype, name="image")],
        )


@contextlib.contextmanager
def converter(source: Source, model: Any, dtype: tf.DType) -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as folder:
        device = Device(source, model, dtype)
        tf.saved_model.save(device, folder, signatures={"serving_default": device.serve})
        yield tf.lite.TFLiteConverter.from_saved_model(folder)


def finish(content: bytes, source: Source, numbers: str, path: Path) -> None:
    path.write_bytes(rewrite(content, source.facts() | {"numbers": numbers}))


def write_float32(source: Source, path: Path) -> None:
    with converter(source, source.encoder.model, tf.uint8) as convert:
        finish(convert.convert(), source, "float32", path)


def write_float16(source: Source, path: Path) -> None:
    with converter(source, source.encoder.model, tf.uint8) as convert:
        convert.optimizations = [tf.lite.Optimize.DEFAULT]
        convert.target_spec.supported_types = [tf.float16]
        finish(convert.convert(), source, "float16 weights", path)


def write_dynamic(source: Source, path: Path) -> None:
    with converter(source, source.encoder.model, tf.uint8) as convert:
        convert.optimizations = [tf.lite.Optimize.DEFAULT]
        finish(convert.convert(), source, "int8 weights, activations quantised as they come", path)


def write_int8(source: Source, path: Path) -> None:
    """Weights in eight bits with a scale for each channel, activations with the ranges that calibration saw."""
    images = calibration_images(source)
    with converter(source, fast_in_int8(source.encoder.model), tf.float32) as convert:
        convert.optimizations = [tf.lite.Optimize.DEFAULT]
        convert.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        convert.inference_input_type = tf.uint8
        convert.representative_dataset = lambda: ([image[None]] for image in images)
        content, kept = quantised(convert, images, source.kept_float)
    finish(content, source, f"int8, but {kept} of its layers in float32" if kept else "int8", path)


def quantised(convert: Any, images: np.ndarray, kept_float: int) -> tuple[bytes, int]:
    """The file's content, and how many layers were kept in float."""
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=ALWAYS_FLOAT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the debugger still runs TensorFlow's own interpreter
        debugger: Any = tf.lite.experimental.QuantizationDebugger(
            converter=convert,
            debug_dataset=lambda: ([image[None]] for image in images[:SENSITIVITY_IMAGES]),
            debug_options=options,
        )
        if not kept_float:
            return debugger.get_nondebug_quantized_model(), 0
        debugger.run()
        sensitive = most_sensitive(debugger.layer_statistics, kept_float)
        debugger.options = tf.lite.experimental.QuantizationDebugOptions(
            denylisted_ops=ALWAYS_FLOAT, denylisted_nodes=sensitive
        )
        return debugger.get_nondebug_quantized_model(), len(sensitive)


def most_sensitive(statistics: dict[str, dict[str, float]], count: int) -> list[str]:
    """The layers with the largest error, in steps of their own scale: 1 / sqrt(12) is what rounding alone gives."""

    def error(layer: dict[str, float]) -> float:
        # the mean of (quantised - float)^2, over the scale's square
        scale = max(layer["scale"], 1e-30)
        return (layer["mean_squared_error"] + layer["mean_error"] ** 2) / scale**2

    return sorted(statistics, key=lambda name: error(statistics[name]), reverse=True)[:count]


def calibration_images(source: Source) -> np.ndarray:
    """[images, size, size, 3] float32"""
    if source.calibration is None:
        raise InputError("int8 needs --calibration, a data set of images like those it will see")
    found: list[np.ndarray] = []
    for batch in source.encoder.images_of(source.calibration):
        found.append(batch["image"].numpy())
        if sum(map(len, found)) >= CALIBRATION_IMAGES:
            break
    images = np.concatenate(found)[:CALIBRATION_IMAGES].astype(np.float32)
    # One black and one white pixel, so that the input's scale is exactly 1: a pixel is passed on as it is.
    images[:, 0, 0], images[:, -1, -1] = 0.0, 255.0
    return images
