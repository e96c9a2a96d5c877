"""Writes facts into a .tflite file, by the classes that are generated from TFLite's schema."""

import json
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from bct_keras.encoders import flatbuffer
from bct_keras.encoders.stated import OUR_FACTS
from bct_keras.errors import InputError
from bct_keras.export.formats import tflite_metadata

IDENTIFIER = b"TFL3"
FIRST_BYTES = 1 << 20  # of the builder, which grows


def rewrite(content: bytes, facts: dict[str, Any]) -> bytes:
    """Returns the same model with `facts` as JSON in its metadata, and the standard's metadata.

    Inputs and outputs have the names that their signature gives them; the long names of all other
    tensors are left out.
    """
    model = model_of(content)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.name = b""
    (signature,) = model.signatureDefs
    graph = model.subgraphs[signature.subgraphIndex]
    for named in (*signature.inputs, *signature.outputs):
        graph.tensors[named.tensorIndex].name = named.name
    outputs = [graph.tensors[place].name.decode() for place in graph.outputs]
    add_metadata(model, OUR_FACTS, json.dumps(facts).encode())
    add_metadata(model, tflite_metadata.NAME, tflite_metadata.metadata(facts, outputs))
    return tflite_metadata.with_facts_behind(packed(model), facts)


def model_of(content: bytes) -> Any:
    """Returns a file's model, with those constants in it that lie behind it in the file."""
    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # 0 and 1 are of constants that lie in the model
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def packed(model: Any) -> bytes:
    """Returns a file of a model."""
    builder = flatbuffers.Builder(FIRST_BYTES)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def add_metadata(model: Any, name: str, content: bytes) -> None:
    """Adds metadata of a name to a model."""
    buffer: Any = schema.BufferT()
    buffer.data = np.frombuffer(content, np.uint8)
    entry: Any = schema.MetadataT()
    entry.name = name
    entry.buffer = len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]


def read_facts(path: Path) -> dict[str, Any]:
    """Returns what `rewrite` put in."""
    metadata = flatbuffer.tflite_metadata(path)
    if OUR_FACTS not in metadata:
        raise InputError(f"{path} holds no facts of bct_keras; export writes them")
    try:
        return json.loads(metadata[OUR_FACTS])
    except ValueError as error:
        raise InputError(f"{path}: its facts cannot be read: {error}") from None
