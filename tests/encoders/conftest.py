"""One small encoder in the places where encoders lie: a .keras file, a run, exported files."""

import shutil
from pathlib import Path

import pytest

from bct_keras import artefacts
from bct_keras.encoders import ENCODER_FILE, RUN_KIND
from bct_keras.export.formats.format import Source
from bct_keras.export.run import Checks, export, keras_encoder

DIMS = 4


@pytest.fixture(scope="module")
def keras_file(tiny_encoder_path) -> Path:
    return tiny_encoder_path(DIMS)


@pytest.fixture(scope="module")
def exported(keras_file, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "files"
    export(Source(keras_encoder(keras_file)), ["saved_model", "tflite"], out, Checks())
    return out


@pytest.fixture(scope="module")
def run(keras_file, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "old"
    folder.mkdir()
    shutil.copy(keras_file, folder / ENCODER_FILE)
    sha256 = artefacts.file_sha256(folder / ENCODER_FILE)
    artefacts.write_manifest(folder, RUN_KIND, {}, encoder=sha256)
    return folder
