"""Makes a foreign encoder whose pixels have to be normalised, in every format.

Its faces differ only with normalised pixels.
"""

from pathlib import Path
from typing import Any

import flatbuffers
import keras
import numpy as np
import onnx
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIZE, DIMS = 16, 16
STEEP = 30.0
# Pixels -> clip(30 y, -1, 1) W: with y of -1 to 1 it sees which pixels are bright, with 0 to 255
# all of them are.
WEIGHTS = np.random.default_rng(0).normal(size=(SIZE * SIZE * 3, DIMS)).astype(np.float32)


def expected(
    images: np.ndarray, mean: Any = 127.5, std: Any = 128.0, order: str = "rgb"
) -> np.ndarray:
    turned = images if order == "rgb" else images[..., ::-1]
    values = np.clip(STEEP * (turned.astype(np.float32) - mean) / np.array(std), -1, 1)
    return values.reshape(len(images), -1) @ WEIGHTS


def write_faces(folder: Path, identities: int = 16, images: int = 4) -> Path:
    """Writes faces whose bright and dark pixels differ from the mean by 8 of 255.

    Noise is of 4.
    """
    random = np.random.default_rng(1)
    for identity in range(identities):
        pattern = 127.5 + 8 * random.choice([-1, 1], (SIZE, SIZE, 3))
        (folder / f"person{identity:02}").mkdir(parents=True)
        for number in range(images):
            pixels = np.clip(np.rint(pattern + random.normal(0, 4, pattern.shape)), 0, 255).astype(
                np.uint8
            )
            Image.fromarray(pixels).save(folder / f"person{identity:02}" / f"{number}.png")
    return folder


def embedding(image: tf.Tensor) -> tf.Tensor:
    return tf.matmul(
        tf.reshape(tf.clip_by_value(STEEP * image, -1.0, 1.0), [-1, SIZE * SIZE * 3]), WEIGHTS
    )


def write_tflite(path: Path, metadata: bytes = b"") -> Path:
    serve = tf.function(
        embedding, input_signature=[tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32)]
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [serve.get_concrete_function()], tf.Module()
    )
    content = converter.convert()
    path.write_bytes(with_metadata(content, metadata) if metadata else content)
    return path


def with_metadata(content: bytes, metadata: bytes) -> bytes:
    """Returns the same model with this in the buffer that TFLITE_METADATA names."""
    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    entry: Any = schema.MetadataT()
    buffer: Any = schema.BufferT()
    entry.name, entry.buffer = "TFLITE_METADATA", len(model.buffers)
    buffer.data = np.frombuffer(metadata, np.uint8)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def normalization(mean: list[float], std: list[float]) -> bytes:
    """TFLite's standard metadata, written field by field as its schema numbers them."""
    builder = flatbuffers.Builder(0)

    def table(fields: int, **places: int) -> int:
        builder.StartObject(fields)
        for name, place in places.items():
            builder.PrependUOffsetTRelativeSlot(int(name[1:]), place, 0)
        return builder.EndObject()

    def tables(*each: int) -> int:
        builder.StartVector(4, len(each), 4)
        for place in reversed(each):
            builder.PrependUOffsetTRelative(place)
        return builder.EndVector()

    means, stds = (
        builder.CreateNumpyVector(np.array(values, np.float32)) for values in (mean, std)
    )
    options = table(2, _0=means, _1=stds)  # NormalizationOptions
    builder.StartObject(2)  # ProcessUnit: which kind of options, and they
    builder.PrependUint8Slot(0, 1, 0)
    builder.PrependUOffsetTRelativeSlot(1, options, 0)
    unit = builder.EndObject()
    tensor = table(7, _0=builder.CreateString("image"), _4=tables(unit))  # TensorMetadata
    graph = table(5, _2=tables(tensor))  # SubGraphMetadata
    builder.Finish(table(8, _0=builder.CreateString("face encoder"), _3=tables(graph)), b"M001")
    return bytes(builder.Output())


def write_onnx(path: Path, colours_first: bool = False, **properties: str) -> Path:
    shape = [None, 3, SIZE, SIZE] if colours_first else [None, SIZE, SIZE, 3]
    constants = {"steep": STEEP, "low": -1.0, "high": 1.0}
    turn = (
        [helper.make_node("Transpose", ["image"], ["last"], perm=[0, 2, 3, 1])]
        if colours_first
        else []
    )
    graph = helper.make_graph(
        [
            *turn,
            helper.make_node("Mul", ["last" if colours_first else "image", "steep"], ["larger"]),
            helper.make_node("Clip", ["larger", "low", "high"], ["values"]),
            helper.make_node("Flatten", ["values"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["embedding"]),
        ],
        "foreign",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [None, DIMS])],
        [
            *(
                numpy_helper.from_array(np.array(value, np.float32), name)
                for name, value in constants.items()
            ),
            numpy_helper.from_array(WEIGHTS, "weights"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(
        model, {name.replace("_", ".", 1): value for name, value in properties.items()}
    )
    onnx.save(model, path)
    return path


def write_saved_model(folder: Path) -> Path:
    module: Any = tf.Module()
    module.serve = tf.function(
        lambda image: {"embedding": embedding(image)},
        input_signature=[tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32, name="image")],
    )
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return folder


def write_keras(path: Path) -> Path:
    image = keras.Input((SIZE, SIZE, 3))
    values = keras.ops.clip(keras.ops.multiply(image, STEEP), -1.0, 1.0)
    dense = keras.layers.Dense(DIMS, use_bias=False)
    model = keras.Model(image, dense(keras.layers.Flatten()(values)))
    dense.set_weights([WEIGHTS])
    model.save(path)
    return path
