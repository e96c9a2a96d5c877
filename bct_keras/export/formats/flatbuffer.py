"""Writes facts into a .tflite file, by the classes that are generated from TFLite's schema."""

import json
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from bct_keras.encoders.flatbuffer import tflite_metadata
from bct_keras.encoders.stated import OUR_FACTS
from bct_keras.errors import InputError

IDENTIFIER = b"TFL3"
FIRST_BYTES = 1 << 20  # of the builder, which grows


def rewrite(content: bytes, facts: dict[str, Any]) -> bytes:
    """Returns the same model with `facts` as JSON in its metadata.

    The tensors' long names are left out, but for inputs and outputs.
    """
    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    for graph in model.subgraphs:
        kept = {*graph.inputs, *graph.outputs}
        for index, tensor in enumerate(graph.tensors):
            if index not in kept:
                tensor.name = b""
    text = json.dumps(facts).encode()
    buffer: Any = schema.BufferT()
    buffer.data = np.frombuffer(text, np.uint8)
    entry: Any = schema.MetadataT()
    entry.name = OUR_FACTS
    entry.buffer = len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(FIRST_BYTES)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def read_facts(path: Path) -> dict[str, Any]:
    """Returns what `rewrite` put in."""
    metadata = tflite_metadata(path)
    if OUR_FACTS not in metadata:
        raise InputError(f"{path} holds no facts of bct_keras; export writes them")
    try:
        return json.loads(metadata[OUR_FACTS])
    except ValueError as error:
        raise InputError(f"{path}: its facts cannot be read: {error}") from None
