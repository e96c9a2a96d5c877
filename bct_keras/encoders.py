"""Anything that can embed images: a run of ours, a .keras file, a SavedModel, a .tflite file."""

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bct_keras import artefacts
from bct_keras.data import dataset
from bct_keras.errors import InputError

RUN_KIND = "run"
ENCODER_FILE = "encoder.keras"
BATCH_SIZE = 256


class Encoder(ABC):
    """Images of 0..255 in, embeddings of any norm out."""

    def __init__(self, path: Path, image_size: int, dims: int):
        self.path = path
        self.image_size = image_size
        self.dims = dims

    @abstractmethod
    def embed(self, images: np.ndarray) -> np.ndarray:
        """[batch, size, size, 3] uint8 -> [batch, dims] float32"""

    @cached_property
    def fingerprint(self) -> str:
        if self.path.is_file():
            return artefacts.file_sha256(self.path)
        files = sorted(file for file in self.path.rglob("*") if file.is_file())
        names = [file.relative_to(self.path).as_posix() for file in files]
        return artefacts.fingerprint([names, [artefacts.file_sha256(file) for file in files]])

    def embed_data(self, data: dataset.DataSet, shards: tuple[dataset.Shard, ...] | None = None):
        """Yields (embeddings, batch) over the records in stored order."""
        data = replace(
            data, image_size=self.image_size, same_size=data.same_size and data.image_size == self.image_size
        )
        for batch in data.batches(BATCH_SIZE, shards):
            embeddings = self.embed(batch["image"].numpy())
            if not np.isfinite(embeddings).all():
                bad = int(np.flatnonzero(~np.isfinite(embeddings).all(1))[0])
                raise InputError(f"{self.path} gives no finite embedding for image {dataset.ids_of(batch)[bad]}")
            yield embeddings, batch


class KerasEncoder(Encoder):
    """One that is in memory; `path` says where it comes from."""

    def __init__(self, path: Path, model: Any):
        image_size, dims = checked_shapes(path, model.input_shape, model.output_shape)
        super().__init__(path, image_size, dims)
        self.model = model
        self._embed = tf.function(lambda images: self.model(images, training=False), reduce_retracing=True)

    def embed(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self._embed(tf.constant(images)), np.float32)


def keras_encoder(path: Path) -> KerasEncoder:
    try:
        # safe_mode: a file from elsewhere may not bring code along.
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise InputError(f"{path} cannot be loaded as a Keras encoder: {first_line(error)}") from None
    return KerasEncoder(path, model)


class SavedKerasEncoder(Encoder):
    def __init__(self, path: Path):
        try:
            self.model = tf.saved_model.load(str(path))
            self.serve = self.model.signatures["serving_default"]
            (self.input_name, spec), *others = self.serve.structured_input_signature[1].items()
            (self.output_name, output), *other_outputs = self.serve.structured_outputs.items()
        except (KeyError, ValueError, OSError, tf.errors.OpError) as error:
            raise InputError(f"{path} cannot be loaded as a SavedModel: {first_line(error)}") from None
        if others or other_outputs:
            raise InputError(f"{path}: its serving_default has several inputs or outputs; one of each is needed")
        self.input_dtype = spec.dtype
        super().__init__(path, *checked_shapes(path, spec.shape, output.shape))

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
            raise InputError(f"{path} cannot be loaded as a TFLite encoder: {first_line(error)}") from None
        shapes = (self.input["shape_signature"], self.output["shape_signature"])
        super().__init__(path, *checked_shapes(path, *shapes))
        self.batch = 0

    def embed(self, images: np.ndarray) -> np.ndarray:
        if len(images) != self.batch:
            self.interpreter.resize_tensor_input(self.input["index"], images.shape)
            self.interpreter.allocate_tensors()
            self.batch = len(images)
        self.interpreter.set_tensor(self.input["index"], images.astype(self.input["dtype"]))
        self.interpreter.invoke()
        return np.asarray(self.interpreter.get_tensor(self.output["index"]), np.float32)


def load_encoder(path: str | Path) -> Encoder:
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such encoder")
    if (path / "saved_model.pb").is_file():
        return SavedKerasEncoder(path)
    if path.is_dir():
        return keras_encoder(encoder_of_run(path))
    kinds = {".keras": keras_encoder, ".tflite": TFLiteEncoder}
    if path.suffix not in kinds:
        raise InputError(f"{path} is no encoder: known are a run's folder, a SavedModel, {', '.join(kinds)}")
    return kinds[path.suffix](path)


def encoder_of_run(folder: Path) -> Path:
    manifest = artefacts.read_manifest(folder, RUN_KIND)
    path = folder / ENCODER_FILE
    if not path.is_file() or artefacts.file_sha256(path) != manifest.get("encoder"):
        raise InputError(f"{path} is missing or not the one this run trained; train it again")
    return path


def checked_shapes(path: Path, image_shape, embedding_shape) -> tuple[int, int]:
    """[batch, size, size, 3] and [batch, dims], or an error."""
    try:
        _, height, width, channels = (int(side or -1) for side in image_shape)
        _, dims = (int(side or -1) for side in embedding_shape)
    except (TypeError, ValueError):
        height = width = channels = dims = -1
    if height != width or height < 1 or channels != 3 or dims < 1:
        raise InputError(
            f"{path} is no encoder of square colour images: {tuple(image_shape)} in, {tuple(embedding_shape)} out"
        )
    return height, dims


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
