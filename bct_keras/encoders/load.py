"""From what a user names to an encoder: a path, or a path with how the file is to be read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bct_keras import artefacts, specs, stores
from bct_keras.data.preprocessing import OWN
from bct_keras.encoders.adapter_file import ADAPTER_FILE, load_adapter
from bct_keras.encoders.derived import AdaptedEncoder, FusedEncoder, TwoSpaces
from bct_keras.encoders.encoder import Encoder, FileEncoder, first_sentence
from bct_keras.encoders.isolated import OnnxEncoder, TFLiteEncoder
from bct_keras.encoders.keras_file import keras_file_encoder
from bct_keras.encoders.saved_model import GRAPH_FILE, SavedModelEncoder
from bct_keras.encoders.stored import StoredEmbeddings
from bct_keras.errors import InputError
from bct_keras.untrusted import reading
from bct_keras.untrusted.json_files import field

RUN_KIND = "run"
EXPORT_KIND = "export"
ADAPTER_KIND = "adapter"
ENCODER_FILE = "encoder.keras"
HEAD_FILE = "head.npz"


@dataclass(frozen=True)
class EncoderFile:
    """An encoder's file with its preprocessing, as a spec gives it.

    What is left out is read from the file.
    """

    path: str
    mean: Any = None
    std: Any = None
    order: str | None = None
    resize: str | None = None

    def given(self) -> dict[str, Any]:
        """Returns the preprocessing as it was given."""
        return {
            "mean": self.mean,
            "std": self.std,
            "order": self.order,
            "resize": self.resize,
        }

    def open(self) -> FileEncoder:
        """Returns the encoder in the file."""
        raise NotImplementedError


class KerasFile(EncoderFile):
    """A .keras file."""

    def open(self) -> FileEncoder:
        """Returns the encoder in the file."""
        path = existing(self.path)
        return keras_file_encoder(path, self.given())


@dataclass(frozen=True)
class SavedModelFolder(EncoderFile):
    """A SavedModel; `trust` lets it be loaded whatever its graph can do."""

    trust: bool = False

    def open(self) -> FileEncoder:
        """Returns the encoder in the folder."""
        folder = existing(self.path, GRAPH_FILE)
        reading.check_folder(folder)  # whatever reads it would wait for a pipe
        return SavedModelEncoder(folder, self.given(), self.trust)


class TFLiteFile(EncoderFile):
    """A .tflite file."""

    def open(self) -> FileEncoder:
        """Returns the encoder in the file."""
        path = existing(self.path)
        return TFLiteEncoder(path, self.given())


class OnnxFile(EncoderFile):
    """An .onnx file."""

    def open(self) -> FileEncoder:
        """Returns the encoder in the file."""
        path = existing(self.path)
        return OnnxEncoder(path, self.given())


# `tflite(old.tflite, mean=127.5, std=128, order=bgr)` wherever an encoder is named.
ENCODERS: dict[str, type[EncoderFile]] = {
    "keras": KerasFile,
    "saved_model": SavedModelFolder,
    "tflite": TFLiteFile,
    "onnx": OnnxFile,
}


def adapted(encoder: str, adapter: str, may_trust: bool = True) -> AdaptedEncoder:
    """Returns an encoder behind an adapter, each by what loads it."""
    source = load_encoder(encoder, may_trust)
    return AdaptedEncoder(source, load_adapter(adapter), adapter)


def fused(new: str, old: str, weight: float = 0.5, may_trust: bool = True) -> FusedEncoder:
    """Returns the weighted mean of two encoders, each by what loads it."""
    return FusedEncoder(load_encoder(new, may_trust), load_encoder(old, may_trust), weight)


def two_spaces(encoder: str, compatible: str, may_trust: bool = True) -> TwoSpaces:
    """Returns an encoder with another one for the old gallery, each by what loads it."""
    return TwoSpaces(load_encoder(encoder, may_trust), load_encoder(compatible, may_trust))


# `fused(runs/new, runs/old, weight=0.7)` likewise.
DERIVED: dict[str, Callable[..., Encoder]] = {
    "adapted": adapted,
    "fused": fused,
    "two_spaces": two_spaces,
}
KIND_OF_SUFFIX = {".keras": "keras", ".tflite": "tflite", ".onnx": "onnx"}
STORED = ".npz"


def load_encoder(named: str | Path, may_trust: bool = True) -> Encoder:
    """Returns the encoder that is meant.

    Args:
        named: A path, or a spec such as `tflite(old.tflite, mean=127.5)`, `adapted(runs/new,
            adapter.keras)` or `fused(runs/new, runs/old, weight=0.7)`.
        may_trust: Whether a spec may say `trust=True`; not one that stood in a file.
    """
    text = str(named)
    if stores.is_remote(text):
        return of_store(text, may_trust)
    path = Path(named)
    if not exists(path):
        kind, bracket, _ = text.partition("(")
        if bracket and kind.strip() in DERIVED:
            return specs.build(DERIVED, text, may_trust=may_trust)
        if bracket and kind.strip() in ENCODERS:
            return from_spec(text, may_trust)
        raise InputError(f"{path}: no such encoder")
    if path.is_dir() and not (path / GRAPH_FILE).is_file():
        if artefacts.kind_of(path) == EXPORT_KIND:
            raise InputError(
                f"{path} has several encoders: give one of its files, such as "
                f"{path / 'encoder.tflite'}"
            )
        if artefacts.kind_of(path) == ADAPTER_KIND:
            return adapted_encoder(path)
        return run_encoder(path)
    if path.suffix == STORED and not path.is_dir():
        return StoredEmbeddings(path)
    kind = "saved_model" if path.is_dir() else KIND_OF_SUFFIX.get(path.suffix)
    if kind is None:
        known = ", ".join([*KIND_OF_SUFFIX, STORED])
        raise InputError(f"{path} is no encoder: known are a run's folder, a SavedModel, {known}")
    return opened(path, ENCODERS[kind](text).open).view


def of_store(named: str, may_trust: bool) -> Encoder:
    """Returns the encoder in a store, which is fetched; it goes by its name there."""
    copy = stores.local(named)
    encoder = load_encoder(copy, may_trust)
    path = stores.place(named)
    if encoder.path != copy and encoder.path.is_relative_to(copy):
        path = path / encoder.path.relative_to(copy).as_posix()
    for known in (encoder, getattr(encoder, "whole", encoder)):
        assert known.fingerprint  # of what was fetched, and kept
        known.path = path
        known.spec = str(path)
    return encoder


def from_spec(spec: str, may_trust: bool) -> Encoder:
    """Returns the encoder of a spec such as `tflite(old.tflite, mean=127.5)`."""
    file: EncoderFile = specs.build(ENCODERS, spec)
    if getattr(file, "trust", False) and not may_trust:
        raise InputError(f"{spec}: give it yourself to trust it; it stood in a file")
    encoder = opened(Path(file.path), file.open)
    if any(value is not None for value in file.given().values()):
        encoder.spec = encoder.spec_with(encoder.preprocessing)
    return encoder.view


def opened(path: Path, load: Callable[[], FileEncoder]) -> FileEncoder:
    """Loads an encoder; an error of any kind becomes one line that names the file."""
    try:
        return load()
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file does to its library
        raise InputError(
            f"{path} cannot be loaded as an encoder: {first_sentence(error)}"
        ) from None


def exists(path: Path) -> bool:
    """Tells whether there is anything at the path, which may be no path at all."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a name, or with a zero byte
        return False


def existing(name: str, member: str = "") -> Path:
    """Returns the path of a file, or of a folder with this member; raises where it is not there."""
    path = stores.local(name)
    if not exists(path):
        raise InputError(f"{path}: no such encoder")
    if member and not (path / member).is_file():
        raise InputError(f"{path} is no folder with {member}")
    if not member:
        with reading.opened(path):  # whatever reads it would wait for a pipe
            pass
    return path


def run_encoder(folder: Path) -> Encoder:
    """Returns the encoder that a run has trained."""
    encoder = keras_file_encoder(encoder_of_run(folder), {})
    encoder.preprocessing = OWN
    manifest = artefacts.read_manifest(folder, RUN_KIND)
    made_from = manifest["made_from"]
    if encoder.view is encoder and made_from.get("compatible_dims"):
        where = folder / artefacts.MANIFEST
        compatible = field(made_from, "compatible_dims", int, where)
        encoder.compatible_dims = min(compatible, encoder.dims)
    return encoder.view


def adapted_encoder(folder: Path) -> Encoder:
    """Returns the encoder that `adapt` has folded an adapter into."""
    manifest = artefacts.read_manifest(folder, ADAPTER_KIND)
    path = folder / ENCODER_FILE
    if "encoder" not in manifest:
        raise InputError(
            f"{folder} has an adapter and no encoder with it: give"
            f" adapted(ENCODER, {folder / ADAPTER_FILE})"
        )
    check_made(path, manifest["encoder"], "adapt it")
    encoder = keras_file_encoder(path, {})
    encoder.preprocessing = OWN
    return encoder.view


def is_adapter_alone(folder: Path) -> bool:
    """Tells whether a folder that `adapt` has made holds the map and no encoder with it."""
    return (folder / ADAPTER_FILE).is_file() and not (folder / ENCODER_FILE).is_file()


def encoder_of_run(folder: Path) -> Path:
    """Returns the file of a run's encoder; raises where it is not the one that was trained."""
    manifest = artefacts.read_manifest(folder, RUN_KIND)
    path = folder / ENCODER_FILE
    check_made(path, manifest.get("encoder"), "train it")
    return path


def check_made(path: Path, sha256: Any, make: str) -> None:
    """Raises where a file is not the one that its folder was made with."""
    if not path.is_file() or artefacts.file_sha256(path) != sha256:
        raise InputError(
            f"{path} is missing or not the one this run trained; remove {path.parent} and {make}"
            " again"
        )
