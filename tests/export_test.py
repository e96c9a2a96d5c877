import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bct_keras import export as exporting
from bct_keras.backbones import iresnet
from bct_keras.data.embeddings import normalised
from bct_keras.encoders import Encoder, KerasEncoder, load_encoder
from bct_keras.errors import InputError
from bct_keras.export import export

EMBED_WITH_TENSORFLOW_ALONE = """
import sys
sys.modules["bct_keras"] = sys.modules["keras"] = None  # importing them fails
import numpy, tensorflow
serve = tensorflow.saved_model.load(sys.argv[1]).signatures["serving_default"]
numpy.save(sys.argv[3], serve(image=numpy.load(sys.argv[2]))["embedding"])
"""


def images(count: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (count, 28, 28, 3), np.uint8)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Encoder:
    """About 300,000 weights, with statistics as training leaves them: none is 0 or 1."""
    model = iresnet.iresnet_small(image_size=28, dims=16, width=32, dropout=0.4)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if "batch_normalization" in layer.name:
            layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    path = tmp_path_factory.mktemp("encoder") / "encoder.keras"
    model.save(path)
    return load_encoder(path)


@pytest.fixture(scope="module")
def exported(encoder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "files"
    said = export(encoder, ["saved_model", "tflite"], out)
    assert "saved_model: within" in said
    assert "encoder.tflite: within" in said
    return out


@pytest.mark.parametrize(("name", "tolerance"), [("saved_model", 1e-5), ("encoder.tflite", 1e-4)])
@pytest.mark.parametrize("batch", [1, 5, 3])
def test_files_give_the_embeddings_of_the_encoder(encoder, exported, name, tolerance, batch):
    found = load_encoder(exported / name).embed(images(batch))
    assert found.shape == (batch, 16)
    np.testing.assert_allclose(found, normalised(encoder.embed(images(batch))), rtol=0, atol=tolerance)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-5)


def test_embeddings_of_different_images_differ(encoder):
    embeddings = normalised(encoder.embed(images(8)))
    # Else the comparisons above would prove little.
    assert np.abs(embeddings[:, None] - embeddings[None])[~np.eye(8, dtype=bool)].max(axis=1).min() > 0.01


def test_saved_model_needs_tensorflow_alone(encoder, exported, tmp_path):
    np.save(tmp_path / "images.npy", images(3).astype(np.float32))
    arguments = [exported / "saved_model", tmp_path / "images.npy", tmp_path / "embeddings.npy"]
    command = [sys.executable, "-I", "-c", EMBED_WITH_TENSORFLOW_ALONE, *map(str, arguments)]
    subprocess.run(command, check=True, cwd=tmp_path)
    expected = normalised(encoder.embed(images(3)))
    np.testing.assert_allclose(np.load(tmp_path / "embeddings.npy"), expected, rtol=0, atol=1e-5)


def test_saved_model_holds_each_weight_once(encoder, exported):
    assert isinstance(encoder, KerasEncoder)
    weights = sum(weight.nbytes for weight in encoder.model.get_weights())
    assert weights > 1_000_000  # enough to make the names and shapes beside them small
    stored = sum(file.stat().st_size for file in (exported / "saved_model" / "variables").iterdir())
    assert weights <= stored <= 1.02 * weights


@pytest.mark.parametrize("name", ["saved_model", "tflite"])
def test_only_the_formats_asked_for_are_written(encoder, tmp_path, name):
    export(encoder, [name], tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {exporting.FILES[name], "manifest.json"}


def test_manifest_tells_the_differences_found(encoder, exported):
    manifest = json.loads((exported / "manifest.json").read_text())
    assert manifest["kind"] == "export"
    assert manifest["made_from"]["encoder"] == encoder.fingerprint
    assert 0 <= manifest["differences"]["saved_model"] <= 1e-5
    assert 0 <= manifest["differences"]["tflite"] <= 1e-4


def test_what_is_there_is_not_made_again(encoder, exported):
    files = {path: path.stat().st_mtime_ns for path in exported.rglob("*")}
    export(encoder, ["tflite", "saved_model"], exported)
    assert {path: path.stat().st_mtime_ns for path in exported.rglob("*")} == files


@pytest.mark.parametrize("formats", [["onnx"], ["saved_model", "onnx"], []])
def test_unknown_formats_are_refused(encoder, tmp_path, formats):
    with pytest.raises(InputError, match="known formats are saved_model, tflite"):
        export(encoder, formats, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["saved_model", "tflite"])
def test_a_file_that_disagrees_is_refused_and_nothing_is_left(encoder, tmp_path, monkeypatch, name):
    monkeypatch.setitem(exporting.TOLERANCES, name, -1.0)
    with pytest.raises(InputError, match=r"differs from .* by"):
        export(encoder, ["saved_model", "tflite"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_gives_no_numbers_is_refused(encoder, tmp_path, monkeypatch):
    embed = KerasEncoder.embed
    monkeypatch.setattr(KerasEncoder, "embed", lambda self, images: embed(self, images) * np.nan)
    with pytest.raises(InputError, match=r"differs from .* by nan"):
        export(encoder, ["saved_model"], tmp_path / "out")


def test_only_keras_encoders_can_be_exported(exported, tmp_path):
    with pytest.raises(InputError, match=r"only a run's folder or a \.keras file"):
        export(load_encoder(exported / "encoder.tflite"), ["saved_model"], tmp_path / "out")
