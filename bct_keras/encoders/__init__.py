"""Encoders: whatever can embed images.

That is a model in memory, a run of ours, a .keras, .tflite or .onnx file, or a SavedModel.
"""

from bct_keras.encoders.encoder import DerivedEncoder, Encoder, FileEncoder, FirstDims
from bct_keras.encoders.in_memory import InMemoryEncoder
from bct_keras.encoders.isolated import OnnxEncoder, TFLiteEncoder
from bct_keras.encoders.keras_file import KerasEncoder, keras_file_encoder
from bct_keras.encoders.load import ENCODER_FILE, EXPORT_KIND, HEAD_FILE, RUN_KIND, load_encoder
from bct_keras.encoders.saved_model import SavedModelEncoder

__all__ = [
    "ENCODER_FILE",
    "EXPORT_KIND",
    "HEAD_FILE",
    "RUN_KIND",
    "DerivedEncoder",
    "Encoder",
    "FileEncoder",
    "FirstDims",
    "InMemoryEncoder",
    "KerasEncoder",
    "OnnxEncoder",
    "SavedModelEncoder",
    "TFLiteEncoder",
    "keras_file_encoder",
    "load_encoder",
]
