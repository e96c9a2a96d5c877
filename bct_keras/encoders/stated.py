"""Reads what a file itself says about the pixels that it takes.

It says so in the metadata of TFLite or of ONNX, or in our own facts.
"""

import struct
from collections.abc import Mapping
from pathlib import Path

from bct_keras.data.preprocessing import CHANNELS, OWN, Preprocessing
from bct_keras.encoders.flatbuffer import DamagedError, Table, tflite_metadata

OUR_FACTS = "bct_keras"  # the metadata that export writes: our files take pixels as they are
TFLITE_METADATA = "TFLITE_METADATA"
NORMALIZATION_OPTIONS = 1  # in the union ProcessUnitOptions
FROM_METADATA = "as its metadata say"

# https://onnx.ai/onnx/repo-docs/MetadataProps.html, with the keys and values in small letters; of
# the ranges, what pixels of 0..255 become, as mean and std of (x - mean) / std.
PIXEL_FORMAT, PIXEL_RANGE = "image.bitmappixelformat", "image.nominalpixelrange"
ORDERS = {"rgb8": "rgb", "bgr8": "bgr"}
RANGES = {
    "nominalrange_0_255": (0.0, 1.0),
    "normalized_0_1": (0.0, 255.0),
    "normalized_1_1": (127.5, 127.5),
    "nominalrange_16_235": (-16.0 * 255.0 / 219.0, 255.0 / 219.0),
}


def of_tflite(path: Path) -> Preprocessing:
    """Returns what the file states; without a source where it states nothing."""
    metadata = tflite_metadata(path)
    if OUR_FACTS in metadata:
        return OWN
    try:
        return normalization(metadata.get(TFLITE_METADATA, b""))
    except DamagedError:
        return Preprocessing()  # the model may be whole all the same


def normalization(content: bytes) -> Preprocessing:
    """Returns the mean and std of the first input's NormalizationOptions.

    Of the schema's tables: ModelMetadata.subgraph_metadata = 3,
    SubGraphMetadata.input_tensor_metadata = 2, TensorMetadata.process_units = 4,
    ProcessUnit.options = 0 (which kind) and 1, NormalizationOptions.mean = 0 and .std = 1.
    """
    if not content:
        return Preprocessing()
    for graph in Table.root(content).tables(3):
        for tensor in graph.tables(2):
            for unit in tensor.tables(4):
                options = unit.table(1)
                kind = unit.whole_number(0, "<B")
                if options and kind == NORMALIZATION_OPTIONS:
                    mean = floats(options.bytes(0, 4))
                    std = floats(options.bytes(1, 4))
                    return stated(mean, std)
            return Preprocessing()
    return Preprocessing()


def stated(mean: tuple[float, ...], std: tuple[float, ...]) -> Preprocessing:
    """Returns the preprocessing where it makes sense; else the one that states nothing.

    It makes sense with finite numbers, one or one for each channel, and no division by 0.
    """
    for values in (mean, std):
        if len(values) not in (1, CHANNELS):
            return Preprocessing()
        if not all(abs(value) < 1e30 for value in values):
            return Preprocessing()
    if 0.0 in std:
        return Preprocessing()
    return Preprocessing(mean, std, source=FROM_METADATA)


def floats(content: bytes) -> tuple[float, ...]:
    """Returns the numbers that these bytes are."""
    count = len(content) // 4
    return struct.unpack(f"<{count}f", content)


def of_onnx(properties: Mapping[str, str]) -> Preprocessing:
    """Returns what the image metadata state, whose keys and values may be in capitals or not."""
    lower = {name.lower(): value.lower() for name, value in properties.items()}
    order = ORDERS.get(lower.get(PIXEL_FORMAT, ""))
    numbers = RANGES.get(lower.get(PIXEL_RANGE, ""))
    if not (order or numbers):
        return Preprocessing()
    mean, std = numbers or (0.0, 1.0)
    return Preprocessing(
        mean=(mean,),
        std=(std,),
        order=order or "rgb",
        source=FROM_METADATA if numbers else "",
    )
