"""Writes a SavedModel for TF Serving.

Decoding, resizing and normalising are in the graph, and each weight is stored once. An answer to
encoded images says for each of them whether it was taken (`ok`) and which encoder embedded it
(`encoder`). An image that is broken, no JPEG or PNG, or too large has an embedding of NaN, which
resembles nothing, and leaves the others of its batch alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras.data import images
from bct_keras.export.formats.format import Source

WARM_UP_FILE = "assets.extra/tf_serving_warmup_requests"


class Served(tf.Module):
    """Holds the weights itself; Keras's own export writes every variable twice."""

    def __init__(self, source: Source):
        super().__init__()
        encoder = source.encoder
        self.source = source
        self.size = encoder.image_size
        self.weights = [weight.value for weight in encoder.model.weights]
        batch = (None, self.size, self.size, 3)
        floats = tf.TensorSpec(batch, tf.float32, name="image")
        self.float = traced(self._float, floats)
        pixels = tf.TensorSpec(batch, tf.uint8, name="image")
        self.pixels = traced(self._pixels, pixels)
        encoded = tf.TensorSpec((None,), tf.string, name="image_bytes")
        self.encoded = traced(self._encoded, encoded)

    def _float(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Takes pixels as float32."""
        return self.source.outputs(self.source.encoder.model, image)

    def _pixels(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Takes pixels as uint8."""
        values = tf.cast(image, tf.float32)
        return self.float(values)

    def _encoded(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Takes encoded images of any size."""
        image, decoded = images.decode_each(image_bytes, self.size)
        outputs = {}
        for name, embedding in self.pixels(image).items():
            nothing = tf.constant(np.nan, embedding.dtype)
            outputs[name] = tf.where(decoded[:, None], embedding, nothing)
        outputs["ok"] = decoded
        # A row for each image, as a server that batches requests wants of every output.
        outputs["encoder"] = tf.fill(tf.shape(decoded), self.source.served_name)
        return outputs


def traced(function: Callable, takes: tf.TensorSpec) -> Any:
    """Returns a function that is traced once, without its source being rewritten for that."""
    return tf.function(function, input_signature=[takes], autograph=False)


def write(source: Source, path: Path) -> None:
    """Writes the SavedModel, with requests that warm a server up."""
    served = Served(source)
    signatures = {"serving_default": served.encoded, "pixels": served.pixels, "float": served.float}
    tf.saved_model.save(served, str(path), signatures=signatures)
    shape = (1, served.size, served.size, 3)
    grey = tf.io.encode_jpeg(np.full(shape[1:], 127, np.uint8))
    encoded = tf.make_tensor_proto(tf.reshape(grey, [1]))
    # One value for a whole image: a reader fills the shape with it.
    pixels = tf.make_tensor_proto(127, tf.uint8, shape)
    floats = tf.make_tensor_proto(127.0, tf.float32, shape)
    warm_up = path / WARM_UP_FILE
    warm_up.parent.mkdir()
    with tf.io.TFRecordWriter(str(warm_up)) as writer:
        writer.write(predict_log("serving_default", "image_bytes", encoded))
        writer.write(predict_log("pixels", "image", pixels))
        writer.write(predict_log("float", "image", floats))


def predict_log(signature: str, name: str, tensor) -> bytes:
    """Returns a PredictionLog of TF Serving.

    TF Serving's own package is too large to need for three messages. PredictionLog.predict_log = 6,
    PredictLog.request = 1, PredictRequest.model_spec = 1 and .inputs = 2 (a map: key = 1, value =
    2), ModelSpec.signature_name = 3
    """
    model = field(1, field(3, signature.encode()))
    inputs = field(2, field(1, name.encode()) + field(2, tensor.SerializeToString()))
    return field(6, field(1, model + inputs))


def field(number: int, payload: bytes) -> bytes:
    """Returns one field with a length, as protobuf writes it."""
    key = bytes([number << 3 | 2])
    return key + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    """Returns a number as protobuf writes it, seven bits a byte."""
    if value < 128:
        return bytes([value])
    first = value & 127 | 128
    return bytes([first]) + varint(value >> 7)
