"""Exports encoders of two outputs: one for new entries, and one that searches the old gallery."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import bct_keras as bct
from bct_keras.adapt import __main__ as adapting
from bct_keras.adapters.folding import with_adapter, with_fused
from bct_keras.data.dataset import open_data_set
from bct_keras.encoders import TFLiteEncoder, TwoOutputs, load_encoder
from bct_keras.errors import InputError
from bct_keras.evaluate.run import evaluate
from bct_keras.export import __main__ as exporting
from bct_keras.export.formats import FORMATS
from bct_keras.export.formats.closeness import COMPARED_IMAGES
from bct_keras.export.formats.flatbuffer import read_facts
from bct_keras.export.formats.format import Reference, Source
from bct_keras.export.run import Checks, export, keras_encoder
from bct_keras.vectors import normalised

pytestmark = pytest.mark.seconds(30)

SIZE, DIMS, OLD_DIMS = 28, 6, 4
IMAGES = np.random.default_rng(7).integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)
FLOAT_FORMATS = ["saved_model", "tflite"]


def network(dims: int, size: int = SIZE) -> keras.Model:
    """Returns an encoder that sees where the colours are, so that a mirror image is another."""
    image = keras.Input((size, size, 3))
    pixels: Any = keras.layers.Rescaling(1 / 127.5, -1.0)(image)
    start: Any = keras.initializers.GlorotUniform(seed=dims)
    features = keras.layers.Conv2D(8, 3, 2, kernel_initializer=start)(pixels)
    features = keras.layers.PReLU(shared_axes=[1, 2])(features)
    parts = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(features))
    return keras.Model(image, keras.layers.Dense(dims, kernel_initializer=start)(parts))


@pytest.fixture(scope="module")
def make(tmp_path_factory) -> Callable[[str], Path]:
    """Returns what writes a .keras file of two outputs of a kind."""
    random = np.random.default_rng(0)
    new_embeddings = random.normal(size=(64, DIMS))
    old_embeddings = np.abs(new_embeddings[:, :OLD_DIMS])

    def made(kind: str) -> Path:
        options: dict[str, Any] = {"steps": 5, "hidden": 8} if kind == "residual" else {}
        name = "residual" if kind == "residual" else "linear"
        adapter = bct.adapters.fit(name, new_embeddings, old_embeddings, **options)
        model = with_adapter(network(DIMS), adapter)
        if kind == "fused":
            model = with_fused(model, network(OLD_DIMS, size=20), 0.6)
        path = tmp_path_factory.mktemp(kind) / "encoder.keras"
        model.save(path)
        return path

    return made


def expected(path: Path, flip: bool = False) -> dict[str, np.ndarray]:
    """Returns both outputs, each the sum with that of the mirror image, at length 1."""
    model: Any = keras.saving.load_model(path)
    found = model.predict(IMAGES.astype(np.float32), verbose=0)
    if flip:
        mirrored = model.predict(IMAGES[:, :, ::-1].astype(np.float32), verbose=0)
        found = {name: found[name] + mirrored[name] for name in found}
    return {name: normalised(embedding) for name, embedding in found.items()}


@pytest.mark.parametrize(
    ("kind", "flip"), [("linear", False), ("linear", True), ("residual", False), ("fused", True)]
)
def test_files_give_both_outputs_of_the_encoder(make, tmp_path, kind, flip):
    path = make(kind)
    export(Source(keras_encoder(path), flip), FLOAT_FORMATS, tmp_path / "out", Checks())
    both = expected(path, flip)
    assert set(both) == {"embedding", "embedding_compatible"}
    for name in FLOAT_FORMATS:
        file = load_encoder(tmp_path / "out" / FORMATS[name].file)
        assert isinstance(file, TwoOutputs)
        assert (file.dims, file.compatible_dims) == (DIMS, OLD_DIMS)
        np.testing.assert_allclose(file.embed(IMAGES), both["embedding"], atol=1e-5)
        found = file.compatible.embed(IMAGES)
        np.testing.assert_allclose(found, both["embedding_compatible"], atol=1e-5)


def test_an_encoder_that_is_given_its_preprocessing_keeps_both_outputs(make, tmp_path):
    path = make("linear")
    turned = f"keras({path}, order=bgr)"
    export(Source(keras_encoder(turned)), ["tflite"], tmp_path / "out", Checks())
    file, whole = load_encoder(tmp_path / "out" / "encoder.tflite"), load_encoder(path)
    colours = np.ascontiguousarray(IMAGES[..., ::-1])
    for part, plain in ((file, whole), (file.compatible, whole.compatible)):
        np.testing.assert_allclose(part.embed(IMAGES), normalised(plain.embed(colours)), atol=1e-5)


def test_outputs_of_one_name_are_no_encoder(make, tmp_path):
    image = keras.Input((SIZE, SIZE, 3))
    model: Any = keras.saving.load_model(make("linear"))
    keras.Model(image, model(image)).save(tmp_path / "nested.keras")
    with pytest.raises(InputError, match="and each needs a name of its own"):
        load_encoder(tmp_path / "nested.keras")


def test_every_signature_names_both_outputs(make, tmp_path):
    path = make("linear")
    export(Source(keras_encoder(path)), ["saved_model"], tmp_path / "out", Checks())
    signatures = tf.saved_model.load(str(tmp_path / "out" / "saved_model")).signatures  # pyright: ignore
    encoded = [tf.io.encode_png(image).numpy() for image in IMAGES]
    answers = {
        "float": signatures["float"](image=tf.constant(IMAGES, tf.float32)),
        "pixels": signatures["pixels"](image=tf.constant(IMAGES)),
        "serving_default": signatures["serving_default"](
            image_bytes=tf.constant([*encoded, b"no"])
        ),
    }
    for name, embedding in expected(path).items():
        for answer in answers.values():
            np.testing.assert_allclose(answer[name][:4], embedding, atol=1e-5)
        assert np.isnan(answers["serving_default"][name][4]).all()


def test_what_the_gate_measures_is_what_evaluate_does(make, tiny_encoder_path, data_root, tmp_path):
    protocol = f"retrieval({data_root / 'all'})"
    old = load_encoder(tiny_encoder_path(OLD_DIMS))
    path = make("linear")
    checks = Checks((protocol,), old, allow_loss=True)
    export(Source(keras_encoder(path)), ["tflite"], tmp_path / "out", checks)
    gate = json.loads((tmp_path / "out" / "gate.json").read_text())
    found = gate["protocols"][protocol]
    file = load_encoder(tmp_path / "out" / "encoder.tflite")
    for name, encoder in (("encoder", load_encoder(path)), ("tflite", file)):
        report = evaluate(old, encoder, [protocol], tmp_path / f"report of {name}")
        tests = report["protocols"][protocol]
        assert found[f"{name}/old"] == pytest.approx(tests["new/old"])
        assert found[f"{name}/{name}"] == pytest.approx(tests["new/new"])
        assert found["old/old"] == pytest.approx(tests["old/old"])
    # Else it would not be seen which output was measured.
    assert found["encoder/old"] != pytest.approx(found["encoder/encoder"])
    losses = gate["files"]["tflite"]["losses"]
    assert f"top-1 of {protocol}" in losses
    assert f"top-1 of {protocol} among its own" in losses
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "column *old* is searched by `embedding_compatible`, the others by `embedding`" in card


@pytest.mark.parametrize("flags", [(), ("--fuse",)], ids=["linear", "fused"])
def test_what_adapt_has_made_is_exported(tiny_encoder_path, data_root, tmp_path, here, flags):
    adapted, out = tmp_path / "adapted", tmp_path / "exported"
    encoders = (f"--new={tiny_encoder_path(DIMS)}", f"--old={tiny_encoder_path(OLD_DIMS)}")
    data = (f"--data={data_root / 'new'}", "--protocol=none", "--kind=linear")
    status, _, errors = here(adapting, *encoders, *data, *flags, f"--out={adapted}")
    assert status == 0, errors
    given = (f"--encoder={adapted}", "--formats=tflite,saved_model", f"--out={out}")
    status, said, errors = here(exporting, *given)
    assert status == 0, errors
    assert "encoder.tflite: " in said
    both = expected(adapted / "encoder.keras")
    for name in FLOAT_FORMATS:
        file = load_encoder(out / FORMATS[name].file)
        np.testing.assert_allclose(file.embed(IMAGES), both["embedding"], atol=1e-5)
        found = file.compatible.embed(IMAGES)
        np.testing.assert_allclose(found, both["embedding_compatible"], atol=1e-5)
    card = (out / "MODEL_CARD.md").read_text()
    assert "- kind: `linear`" in card
    assert ("each image runs through both encoders" in card) is bool(flags)


def test_int8_keeps_both_outputs_and_their_lengths_in_float(make, data_root, tmp_path):
    path = make("fused")
    source = Source(keras_encoder(path), calibration=open_data_set(data_root / "new"))
    export(source, ["tflite_int8"], tmp_path / "out", Checks())
    written = tmp_path / "out" / "encoder_int8.tflite"
    file = load_encoder(written)
    # Eight bits of random weights on noise.
    for part, embedding in ((file, "embedding"), (file.compatible, "embedding_compatible")):
        cosines = np.sum(part.embed(IMAGES) * expected(path)[embedding], axis=1)
        assert cosines.min() > 0.98
    interpreter = Interpreter(model_path=str(written))
    operations = [operation["op_name"] for operation in interpreter._get_ops_details()]
    # Those at the end, before the map, behind it, and of both fused and their mean.
    assert operations.count("L2_NORMALIZATION") >= 5
    assert not {"RSQRT", "SQRT"} & set(operations)


def test_the_images_run_through_a_file_once(make, data_root, tmp_path, monkeypatch):
    runs = []
    embed = TFLiteEncoder.embed

    def counting(self, images):
        runs.append(len(images))
        return embed(self, images)

    protocol = f"retrieval({data_root / 'test'})"
    path = make("linear")
    monkeypatch.setattr(TFLiteEncoder, "embed", counting)
    export(Source(keras_encoder(path)), ["tflite"], tmp_path / "out", Checks((protocol,)))
    compared = 2 * COMPARED_IMAGES
    assert sum(runs) == compared + open_data_set(data_root / "test").records


def test_mirrored_images_count_where_a_data_set_is_embedded(make, data_root):
    reference = Reference(Source(keras_encoder(make("linear")), flip=True))
    data = open_data_set(data_root / "test")
    for part in (reference, reference.compatible):
        embeddings, batch = next(iter(part.embed_data(data)))
        np.testing.assert_allclose(embeddings, part.embed(batch["image"].numpy()), atol=1e-6)


def test_facts_and_card_say_what_each_output_is_for(make, tmp_path):
    out = tmp_path / "out"
    export(Source(keras_encoder(make("linear"))), ["tflite"], out, Checks())
    facts = read_facts(out / "encoder.tflite")
    new = {"dims": DIMS, "length": 1, "for": "new entries, and queries among them"}
    old = {"dims": OLD_DIMS, "length": 1, "for": "queries in the gallery of the older encoder"}
    assert facts["outputs"] == {"embedding": new, "embedding_compatible": old}
    assert json.loads((out / "manifest.json").read_text())["outputs"] == facts["outputs"]
    card = (out / "MODEL_CARD.md").read_text()
    assert f"| embedding | {DIMS} dimensions, of length 1; for new entries" in card
    assert f"| embedding_compatible | {OLD_DIMS} dimensions, of length 1; for queries in" in card
