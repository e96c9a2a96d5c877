"""Encoders: whatever can embed images.

That is a model in memory, a run of ours, a .keras, .tflite or .onnx file, or a SavedModel; and what
is made of these, an encoder behind an adapter or two that are fused.
"""

from bct_keras.encoders.adapter_file import ADAPTER_FILE, load_adapter
from bct_keras.encoders.derived import AdaptedEncoder, FusedEncoder, TwoSpaces
from bct_keras.encoders.encoder import DerivedEncoder, Encoder, FileEncoder, FirstDims, TwoOutputs
from bct_keras.encoders.in_memory import InMemoryEncoder
from bct_keras.encoders.isolated import OnnxEncoder, TFLiteEncoder
from bct_keras.encoders.keras_file import KerasEncoder, keras_file_encoder
from bct_keras.encoders.load import (
    ADAPTER_KIND,
    ENCODER_FILE,
    EXPORT_KIND,
    HEAD_FILE,
    RUN_KIND,
    is_adapter_alone,
    load_encoder,
)
from bct_keras.encoders.saved_model import SavedModelEncoder

__all__ = [
    "ADAPTER_FILE",
    "ADAPTER_KIND",
    "ENCODER_FILE",
    "EXPORT_KIND",
    "HEAD_FILE",
    "RUN_KIND",
    "AdaptedEncoder",
    "DerivedEncoder",
    "Encoder",
    "FileEncoder",
    "FirstDims",
    "FusedEncoder",
    "InMemoryEncoder",
    "KerasEncoder",
    "OnnxEncoder",
    "SavedModelEncoder",
    "TFLiteEncoder",
    "TwoOutputs",
    "TwoSpaces",
    "is_adapter_alone",
    "keras_file_encoder",
    "load_adapter",
    "load_encoder",
]
