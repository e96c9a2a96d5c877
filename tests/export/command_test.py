import dataclasses
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from bct_keras.backbones import iresnet
from bct_keras.data.dataset import open_data_set
from bct_keras.data.embeddings import normalised
from bct_keras.encoders import KerasEncoder, load_encoder, stated
from bct_keras.encoders.flatbuffer import Table, tflite_metadata
from bct_keras.errors import InputError
from bct_keras.evaluate.protocols import PROTOCOLS
from bct_keras.export import writing
from bct_keras.export.formats import FORMATS
from bct_keras.export.formats.flatbuffer import read_facts
from bct_keras.export.formats.format import Source
from bct_keras.export.run import Checks, export, keras_encoder

pytestmark = pytest.mark.seconds(38)

SIZE, DIMS = 28, 16
FLOAT_FORMATS = ["saved_model", "tflite", "tflite_fp16"]

EMBED_WITH_TENSORFLOW_ALONE = """
import sys
sys.modules["bct_keras"] = sys.modules["keras"] = None  # importing them fails
import numpy, tensorflow
signatures = tensorflow.saved_model.load(sys.argv[1]).signatures
numpy.save(sys.argv[3], signatures["pixels"](image=numpy.load(sys.argv[2]))["embedding"])
"""


def images(count: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> KerasEncoder:
    """Makes about 300,000 weights, with statistics as training leaves them: none is 0 or 1."""
    model = iresnet.iresnet_small(image_size=SIZE, dims=DIMS, width=32, dropout=0.4)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if "batch_normalization" in layer.name:
            layer.set_weights(
                [random.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()]
            )
        if isinstance(layer, keras.layers.PReLU):  # slopes above 1 too, and below 0
            layer.set_weights(
                [random.uniform(-0.2, 1.3, weight.shape) for weight in layer.get_weights()]
            )
    path = tmp_path_factory.mktemp("encoder") / "encoder.keras"
    model.save(path)
    return keras_encoder(path)


@pytest.fixture(scope="module")
def source(encoder, data_root) -> Source:
    return Source(encoder, calibration=open_data_set(data_root / "new"))


@pytest.fixture(scope="module")
def exported(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "files"
    lines = str(export(source, list(FORMATS), out, Checks())).splitlines()
    assert len(lines) == len(FORMATS)
    for line in lines:
        assert line.startswith(str(out))
        assert "not evaluated: no protocol" in line
    return out


@pytest.mark.parametrize(("name", "tolerance"), [("saved_model", 1e-5), ("tflite", 1e-4)])
@pytest.mark.parametrize("batch", [1, 5, 3])
def test_files_give_the_embeddings_of_the_encoder(encoder, exported, name, tolerance, batch):
    found = load_encoder(exported / FORMATS[name].file).embed(images(batch))
    assert found.shape == (batch, DIMS)
    np.testing.assert_allclose(
        found, normalised(encoder.embed(images(batch))), rtol=0, atol=tolerance
    )
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "smallest"),
    # 8 bits of random weights and slopes on noise lose more than those of an encoder that was
    # trained on images
    [("tflite_fp16", 0.9999), ("tflite_dynamic", 0.998), ("tflite_int8", 0.97)],
)
@pytest.mark.parametrize("batch", [1, 5])
def test_smaller_files_give_nearly_the_embeddings_of_the_encoder(
    encoder, exported, name, smallest, batch
):
    found = load_encoder(exported / FORMATS[name].file).embed(images(batch))
    cosines = np.sum(found * normalised(encoder.embed(images(batch))), axis=1)
    assert cosines.min() > smallest
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-3)


def test_embeddings_of_different_images_differ(encoder):
    embeddings = normalised(encoder.embed(images(8)))
    # Else the comparisons above would prove little.
    assert (
        np.abs(embeddings[:, None] - embeddings[None])[~np.eye(8, dtype=bool)].max(axis=1).min()
        > 0.01
    )


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "saved_model"])
def test_tflite_takes_pixels_and_tells_of_itself(encoder, exported, name):
    path = exported / FORMATS[name].file
    interpreter = Interpreter(model_path=str(path))
    (given,) = interpreter.get_input_details()
    assert given["dtype"] is np.uint8
    assert given["shape"].tolist() == [1, SIZE, SIZE, 3]
    batch = -1 if name == "tflite_batch" else 1
    assert given["shape_signature"].tolist() == [batch, SIZE, SIZE, 3]
    assert given["name"] == "image"
    assert [each["name"] for each in interpreter.get_output_details()] == ["embedding"]
    facts = read_facts(path)
    assert facts["fingerprint"] == encoder.fingerprint
    assert facts["encoder"] == f"iresnet_small-{encoder.fingerprint[:12]}"
    assert (facts["dims"], facts["input"]["range"]) == (DIMS, [0, 255])
    # (x - 127.5) / 127.5
    assert facts["input"]["normalisation_in_the_model"] == {"scale": 1 / 127.5, "offset": -1.0}


@pytest.mark.parametrize("name", ["tflite", "tflite_int8"])
def test_the_standard_metadata_tell_of_the_image_and_hold_our_facts(exported, name):
    path = exported / FORMATS[name].file
    standard = tflite_metadata(path)[stated.TFLITE_METADATA]
    assert standard[4:8] == b"M001"
    found = stated.normalization(standard)
    assert (found.mean, found.std) == ((0.0,), (1.0,))
    (graph,) = Table.root(standard).tables(3)
    (image,), (embedding,) = graph.tables(2), graph.tables(3)
    assert (image.bytes(0), embedding.bytes(0)) == (b"image", b"embedding")
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("bct_keras.json")) == read_facts(path)


@pytest.mark.parametrize("name", ["tflite", "tflite_int8"])
def test_the_run_time_with_accelerators_gives_the_same_embedding(exported, name):
    path = str(exported / FORMATS[name].file)
    model = CompiledModel.from_file(path)
    given, found = model.create_input_buffers(0), model.create_output_buffers(0)
    given[0].write(images(1).ravel())
    model.run_by_index(0, given, found)
    embedding = found[0].read(DIMS, np.float32)
    expected = load_encoder(path).embed(images(1))[0]
    np.testing.assert_allclose(embedding, expected, atol=1e-6)


def test_mediapipe_embeds_by_a_file_and_names_its_output(exported):
    mediapipe = pytest.importorskip("mediapipe", reason="MediaPipe is not installed")
    path = str(exported / "encoder.tflite")
    options = mediapipe.tasks.vision.ImageEmbedderOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_path=path)
    )
    with mediapipe.tasks.vision.ImageEmbedder.create_from_options(options) as embedder:
        image = mediapipe.Image(mediapipe.ImageFormat.SRGB, images(1)[0])
        (found,) = embedder.embed(image).embeddings
    assert found.head_name == "embedding"
    np.testing.assert_allclose(found.embedding, load_encoder(path).embed(images(1))[0], atol=1e-5)


def test_int8_has_a_scale_for_each_channel_and_integers_in_its_convolutions(exported):
    interpreter = Interpreter(model_path=str(exported / "encoder_int8.tflite"))
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    convolutions = [op for op in interpreter._get_ops_details() if op["op_name"] == "CONV_2D"]
    assert len(convolutions) == 10
    for convolution in convolutions:
        image, kernel, _ = (tensors[index] for index in convolution["inputs"])
        assert (image["dtype"], kernel["dtype"]) == (np.int8, np.int8)
        assert len(kernel["quantization_parameters"]["scales"]) == kernel["shape"][0] > 1


def test_a_file_without_facts_is_told(tmp_path):
    (tmp_path / "other.tflite").write_bytes(b"no flatbuffer at all")
    with pytest.raises(InputError, match=r"other\.tflite"):
        read_facts(tmp_path / "other.tflite")


def test_saved_model_needs_tensorflow_alone(encoder, exported, tmp_path):
    np.save(tmp_path / "images.npy", images(3))
    arguments = [exported / "saved_model", tmp_path / "images.npy", tmp_path / "embeddings.npy"]
    command = [sys.executable, "-I", "-c", EMBED_WITH_TENSORFLOW_ALONE, *map(str, arguments)]
    subprocess.run(command, check=True, cwd=tmp_path)
    expected = normalised(encoder.embed(images(3)))
    np.testing.assert_allclose(np.load(tmp_path / "embeddings.npy"), expected, rtol=0, atol=1e-5)


@pytest.mark.long
def test_saved_model_cli_runs_it(encoder, exported, tmp_path):
    np.save(tmp_path / "images.npy", images(2))
    tool = Path(sys.executable).with_name("saved_model_cli")
    flags = [
        "--tag_set=serve",
        "--signature_def=pixels",
        f"--inputs=image={tmp_path / 'images.npy'}",
    ]
    command = [tool, "run", "--dir", exported / "saved_model", *flags, "--outdir", tmp_path / "out"]
    subprocess.run(command, check=True, capture_output=True)
    expected = normalised(encoder.embed(images(2)))
    np.testing.assert_allclose(
        np.load(tmp_path / "out" / "embedding.npy"), expected, rtol=0, atol=1e-5
    )


def test_serving_default_decodes_images_of_any_size(encoder, exported, tmp_path):
    pictures = [
        np.random.default_rng(size).integers(0, 256, (size, size + 9, 3), np.uint8)
        for size in (28, 90)
    ]
    pictures.append(images(1)[0])
    encoded = []
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(path := tmp_path / f"{number}.png")
        encoded.append(path.read_bytes())
    serve = tf.saved_model.load(str(exported / "saved_model")).signatures["serving_default"]  # pyright: ignore
    found = serve(image_bytes=tf.constant(encoded))["embedding"].numpy()
    # Pillow's bilinear resize is antialiased; its rounding differs from TensorFlow's by one level
    # at times.
    resized = [
        np.asarray(Image.fromarray(each).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        for each in pictures
    ]
    expected = normalised(encoder.embed(np.stack(resized)))
    assert np.sum(found * expected, axis=1).min() > 0.999
    np.testing.assert_allclose(found[2], expected[2], rtol=0, atol=1e-5)  # that one is not resized


def test_float_and_pixels_agree(exported):
    signatures = tf.saved_model.load(str(exported / "saved_model")).signatures  # pyright: ignore
    by_float = signatures["float"](image=tf.constant(images(2), tf.float32))["embedding"]
    np.testing.assert_array_equal(
        signatures["pixels"](image=tf.constant(images(2)))["embedding"], by_float
    )


def test_saved_model_holds_each_weight_once(encoder, exported):
    weights = sum(weight.nbytes for weight in encoder.model.get_weights())
    assert weights > 1_000_000  # enough to make the names and shapes beside them small
    stored = sum(file.stat().st_size for file in (exported / "saved_model" / "variables").iterdir())
    assert weights <= stored <= 1.02 * weights


def test_mirrored_images_are_added_where_asked_for(source, encoder, tmp_path):
    export(dataclasses.replace(source, flip=True), FLOAT_FORMATS, tmp_path / "out", Checks())
    given = images(4)
    expected = normalised(encoder.embed(given) + encoder.embed(given[:, :, ::-1].copy()))
    assert np.abs(expected - normalised(encoder.embed(given))).max() > 0.01
    for name in FLOAT_FORMATS:
        found = load_encoder(tmp_path / "out" / FORMATS[name].file).embed(given)
        np.testing.assert_allclose(
            found, expected, rtol=0, atol=1e-2 if name == "tflite_fp16" else 1e-4
        )


def test_a_wider_encoder_gives_its_compatible_part_apart(source, encoder, tmp_path):
    wide = keras_encoder(encoder.path)
    wide.compatible_dims = 6
    export(
        dataclasses.replace(source, encoder=wide),
        ["saved_model", "tflite"],
        tmp_path / "out",
        Checks(),
    )
    all_of_it, first = (
        normalised(encoder.embed(images(2))),
        normalised(encoder.embed(images(2))[:, :6]),
    )
    for name in ("saved_model", "tflite"):
        loaded = load_encoder(tmp_path / "out" / FORMATS[name].file)
        assert (loaded.dims, loaded.compatible_dims) == (DIMS, 6)
        np.testing.assert_allclose(loaded.embed(images(2)), all_of_it, rtol=0, atol=1e-4)
        np.testing.assert_allclose(loaded.compatible.embed(images(2)), first, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["saved_model", "tflite"])
def test_only_the_formats_asked_for_are_written(source, tmp_path, name):
    export(source, [name], tmp_path / "out", Checks())
    expected = {FORMATS[name].file, "manifest.json", "gate.json", "MODEL_CARD.md"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected


def test_manifest_tells_what_was_found(encoder, exported):
    manifest = json.loads((exported / "manifest.json").read_text())
    assert manifest["kind"] == "export"
    assert manifest["made_from"]["encoder"] == encoder.fingerprint
    assert 0 <= manifest["files"]["saved_model"]["difference"] <= 1e-5
    assert 0.9999 <= manifest["files"]["tflite_fp16"]["cosine"] <= 1 + 1e-6


def test_what_is_there_is_not_made_again(source, exported):
    files = {path: path.stat().st_mtime_ns for path in exported.rglob("*")}
    export(source, sorted(FORMATS), exported, Checks())
    assert {path: path.stat().st_mtime_ns for path in exported.rglob("*")} == files


@pytest.mark.parametrize("formats", [["onnx"], ["saved_model", "onnx"], []])
def test_unknown_formats_are_refused(source, tmp_path, formats):
    with pytest.raises(InputError, match="known formats are saved_model, tflite"):
        export(source, formats, tmp_path / "out", Checks())
    assert list(tmp_path.iterdir()) == []


def test_int8_without_calibration_is_refused(encoder, tmp_path):
    with pytest.raises(InputError, match="needs calibration"):
        export(Source(encoder), ["saved_model", "tflite_int8"], tmp_path / "out", Checks())


@pytest.mark.parametrize(
    ("name", "limit"), [("saved_model", "largest_difference"), ("tflite_fp16", "smallest_cosine")]
)
def test_a_file_that_disagrees_is_refused_and_nothing_is_left(
    source, tmp_path, monkeypatch, name, limit
):
    impossible = {"largest_difference": -1.0, "smallest_cosine": 1.1}[limit]
    monkeypatch.setitem(FORMATS, name, dataclasses.replace(FORMATS[name], **{limit: impossible}))
    with pytest.raises(InputError, match=rf"{name}.* its encoder"):
        export(source, [name], tmp_path / "out", Checks())
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_gives_no_numbers_is_refused(source, tmp_path, monkeypatch):
    embed = KerasEncoder.embed
    monkeypatch.setattr(KerasEncoder, "embed", lambda self, images: embed(self, images) * np.nan)
    with pytest.raises(InputError, match=r"differs from .* by nan"):
        export(source, ["saved_model"], tmp_path / "out", Checks())


def test_only_keras_encoders_can_be_exported(exported):
    with pytest.raises(InputError, match=r"only a run's folder or a \.keras file"):
        keras_encoder(exported / "encoder.tflite")


@pytest.mark.long
def test_layers_stay_in_float_until_the_gate_is_passed(source, tmp_path, monkeypatch):
    """Tries each share; the first that passes is kept."""
    alike = SimpleNamespace(
        embed=lambda encoder: (0, 0), measure=lambda *_: {"x": 1.0}, made_from=dict
    )
    monkeypatch.setitem(PROTOCOLS, "alike", lambda: alike)
    refused = iter([["too much"], ["too much"], []])
    monkeypatch.setattr(writing.Gate, "faults", lambda self, name: next(refused))
    export(source, ["tflite_int8"], tmp_path / "out", Checks(("alike",)))
    facts = json.loads((tmp_path / "out" / "gate.json").read_text())["files"]["tflite_int8"]
    assert facts["kept_float"] == writing.KEPT_FLOAT[2]
    assert (
        "operations in float32" in read_facts(tmp_path / "out" / "encoder_int8.tflite")["numbers"]
    )
    monkeypatch.setattr(writing.Gate, "faults", lambda self, name: ["too much"])
    export(source, ["tflite_int8"], tmp_path / "as-it-is", Checks(("alike",), allow_loss=True))
    facts = json.loads((tmp_path / "as-it-is" / "gate.json").read_text())["files"]["tflite_int8"]
    assert (facts["kept_float"], facts["faults"]) == (0.0, ["too much"])
