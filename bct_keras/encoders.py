"""Anything that can embed images: a run of ours, a .keras file, a SavedModel, a .tflite or an .onnx file."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bct_keras import artefacts, no_standard_error
from bct_keras.encoder import Encoder, checked_shapes, first_sentence, in_batches
from bct_keras.errors import InputError
from bct_keras.onnx_encoder import OnnxEncoder
from bct_keras.stored_embeddings import StoredEmbeddings
from bct_keras.untrusted import keras_files
from bct_keras.untrusted.json_files import field
from bct_keras.untrusted.reading import check_folder, opened

RUN_KIND = "run"
EXPORT_KIND = "export"
ENCODER_FILE = "encoder.keras"
HEAD_FILE = "head.npz"


class KerasEncoder(Encoder):
    """One that is in memory; `path` says where it comes from."""

    def __init__(self, path: Path, model: Any):
        image_size, dims = checked_shapes(path, model.input_shape, model.output_shape)
        super().__init__(path, image_size, dims)
        self.model = model
        self._embed = tf.function(lambda images: self.model(images, training=False), reduce_retracing=True)

    def embed(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self._embed(tf.constant(images)), np.float32)


def keras_file_encoder(path: Path) -> KerasEncoder:
    keras_files.check(path)
    try:
        # safe_mode: a file from elsewhere may not bring code along.
        model: Any = keras.saving.load_model(path, compile=False, safe_mode=True)
        return KerasEncoder(path, model)
    except InputError:
        raise
    except Exception as error:  # a damaged model may fail in any way, in any layer
        raise InputError(f"{path} {keras_files.FAULT}: {first_sentence(error)}") from None


class FirstDims(Encoder):
    """The first coordinates of another encoder's embeddings."""

    def __init__(self, encoder: Encoder, dims: int):
        super().__init__(encoder.path, encoder.image_size, dims)
        self.encoder = encoder

    def embed(self, images: np.ndarray) -> np.ndarray:
        return self.encoder.embed(images)[:, : self.dims]


class SavedModelEncoder(Encoder):
    def __init__(self, path: Path):
        try:
            self.model = tf.saved_model.load(str(path))
            signatures = self.model.signatures
            # Ours takes encoded images by default; one from elsewhere has no more than its default.
            self.serve = signatures["pixels"] if "pixels" in signatures else signatures["serving_default"]
            (self.input_name, spec), *others = self.serve.structured_input_signature[1].items()
            outputs = dict(self.serve.structured_outputs)
            compatible = outputs.pop("embedding_compatible", None)
            (self.output_name, output), *other_outputs = outputs.items()
        except (KeyError, ValueError, IndexError, OSError, tf.errors.OpError) as error:
            raise InputError(f"{path} cannot be loaded as a SavedModel: {first_sentence(error)}") from None
        if others or other_outputs:
            raise InputError(f"{path}: its signature has several inputs or outputs; one of each is needed")
        self.input_dtype = spec.dtype
        super().__init__(path, *checked_shapes(path, spec.shape, output.shape))
        if compatible is not None:
            self.compatible_dims = int(compatible.shape[1])

    def embed(self, images: np.ndarray) -> np.ndarray:
        given = {self.input_name: tf.cast(images, self.input_dtype)}
        return np.asarray(self.serve(**given)[self.output_name], np.float32)


class TFLiteEncoder(Encoder):
    def __init__(self, path: Path):
        from ai_edge_litert.interpreter import Interpreter  # the device's own run time, not TensorFlow's

        try:
            self.interpreter = Interpreter(model_path=str(path))
            (self.input,) = self.interpreter.get_input_details()
            (self.output,) = self.interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise InputError(f"{path} cannot be loaded as a TFLite encoder: {first_sentence(error)}") from None
        shapes = (self.input["shape_signature"], self.output["shape_signature"])
        super().__init__(path, *checked_shapes(path, *shapes))
        self.batch = 0
        self.fixed_batch = max(int(self.input["shape_signature"][0]), 0)

    def embed(self, images: np.ndarray) -> np.ndarray:
        return in_batches(self.run, images, self.fixed_batch)

    def run(self, images: np.ndarray) -> np.ndarray:
        if len(images) != self.batch:
            self.interpreter.resize_tensor_input(self.input["index"], images.shape)
            with no_standard_error():
                self.interpreter.allocate_tensors()
            self.batch = len(images)
        self.interpreter.set_tensor(self.input["index"], stored(images, self.input))
        self.interpreter.invoke()
        return real(self.interpreter.get_tensor(self.output["index"]), self.output)


def stored(values: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """Numbers as the tensor of a TFLite file holds them, which may be quantised."""
    scale, zero = tensor["quantization"]
    if not scale:
        return values.astype(tensor["dtype"])
    # real = scale * (stored - zero)
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.rint(values / scale + zero), limits.min, limits.max).astype(tensor["dtype"])


def real(values: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    scale, zero = tensor["quantization"]
    return np.asarray(scale * (values.astype(np.float32) - zero) if scale else values, np.float32)


def load_encoder(path: str | Path) -> Encoder:
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such encoder")
    if (path / "saved_model.pb").is_file():
        check_folder(path)
        return SavedModelEncoder(path)
    if path.is_dir():
        if artefacts.kind_of(path) == EXPORT_KIND:
            raise InputError(f"{path} has several encoders: give one of its files, such as {path / 'encoder.tflite'}")
        return run_encoder(path)
    kinds = {".keras": keras_file_encoder, ".tflite": TFLiteEncoder, ".onnx": OnnxEncoder, ".npz": StoredEmbeddings}
    if path.suffix not in kinds:
        raise InputError(f"{path} is no encoder: known are a run's folder, a SavedModel, {', '.join(kinds)}")
    with opened(path):  # whatever reads it would wait for a pipe
        pass
    return kinds[path.suffix](path)


def run_encoder(folder: Path) -> KerasEncoder:
    encoder = keras_file_encoder(encoder_of_run(folder))
    made_from = artefacts.read_manifest(folder, RUN_KIND)["made_from"]
    if made_from.get("compatible_dims"):
        where = folder / artefacts.MANIFEST
        encoder.compatible_dims = min(field(made_from, "compatible_dims", int, where), encoder.dims)
    return encoder


def encoder_of_run(folder: Path) -> Path:
    manifest = artefacts.read_manifest(folder, RUN_KIND)
    path = folder / ENCODER_FILE
    if not path.is_file() or artefacts.file_sha256(path) != manifest.get("encoder"):
        raise InputError(f"{path} is missing or not the one this run trained; remove {folder} and train it again")
    return path
