"""Gives files that are no encoders, or damaged ones.

Each is refused in a line, or two where there is a way on, and none runs code of its own.
"""

import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from bct_keras.data.dataset import open_data_set
from bct_keras.encoders import ENCODER_FILE, load_encoder
from bct_keras.errors import InputError

DIMS = 4


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        load_encoder(path)
    line, *_ = str(error.value).splitlines()
    return line


def pooled(image):
    return layers.GlobalAveragePooling2D()(image)


def test_a_path_that_is_no_encoder(tmp_path, exported, run, data_root):
    assert refused(tmp_path / "nothing").endswith("nothing: no such encoder")
    (tmp_path / "old.h5").write_bytes(b"x")
    assert (
        "old.h5 is no encoder: known are a run's folder, a SavedModel, .keras, .tflite"
        in refused(tmp_path / "old.h5")
    )
    assert "is not a run: it has no manifest.json" in refused(tmp_path)
    assert "has several encoders: give one of its files, such as" in refused(exported)
    assert "is not a run: its manifest.json says 'data set'" in refused(data_root)


def test_a_run_whose_encoder_is_another_or_missing(run, tmp_path, tiny_encoder_path):
    folder = Path(shutil.copytree(run, tmp_path / "old"))
    shutil.copy(tiny_encoder_path(DIMS + 1), folder / ENCODER_FILE)
    said = "encoder.keras is missing or not the one this run trained; remove"
    assert said in refused(folder)
    (folder / ENCODER_FILE).unlink()
    assert said in refused(folder)


def test_a_lambda_layer_is_refused_and_its_code_does_not_run(tmp_path):
    touched = str(tmp_path / "touched")
    image = keras.Input((28, 28, 3))
    code = layers.Lambda(
        lambda pixels: (open(touched, "w").close(), pixels)[1], output_shape=(28, 28, 3)
    )(image)
    path = tmp_path / "lambda.keras"
    keras.Model(image, pooled(code)).save(path)
    line = refused(path)
    assert "`Lambda` layer whose `function` is a Python lambda" in line
    assert "safe_mode" not in line  # nothing that the user could switch off
    assert not Path(touched).exists()
    # Else the line above would prove nothing.
    unsafe: Any = keras.saving.load_model(path, safe_mode=False)
    unsafe(np.zeros((1, 28, 28, 3)))
    assert Path(touched).exists()


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: b"",
        lambda content: b"hello",
        lambda content: content[: len(content) // 2],
        lambda content: content[:600] + bytes([content[600] ^ 1]) + content[601:],
        lambda content: (
            content[: len(content) // 2] + b"\xff" * 9 + content[len(content) // 2 + 9 :]
        ),
    ],
    ids=["empty", "text", "cut off", "changed configuration", "changed weights"],
)
def test_a_damaged_keras_file(keras_file, tmp_path, harm):
    path = tmp_path / "old.keras"
    path.write_bytes(harm(keras_file.read_bytes()))
    assert f"{path} cannot be loaded as a Keras encoder: " in refused(path)


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("config.json", None),
        ("config.json", b"[]"),
        ("config.json", b"{"),
        (
            "config.json",
            json.dumps(
                {"module": "os", "class_name": "system", "config": {"command": "ls"}}
            ).encode(),
        ),
        ("model.weights.h5", None),
        ("model.weights.h5", b"\x89HDF\r\n\x1a\n"),
    ],
)
def test_a_keras_file_with_another_content(keras_file, tmp_path, member, content):
    path = tmp_path / "old.keras"
    with zipfile.ZipFile(keras_file) as whole, zipfile.ZipFile(path, "w") as changed:
        for name in whole.namelist():
            text = content if name == member else whole.read(name)
            if text is not None:
                changed.writestr(name, text)
    assert f"{path} cannot be loaded as a Keras encoder: " in refused(path)


@pytest.mark.parametrize(
    ("module", "kind", "way_on"),
    [
        ("keras_hub.src.models.vit", "ViTBackbone", "another package: pip install keras-hub"),
        (
            "mine",
            "Mine",
            "does not bring layers of its maker's own along: save one",
        ),
    ],
)
def test_layers_that_keras_does_not_have(tmp_path, monkeypatch, module, kind, way_on):
    monkeypatch.setitem(sys.modules, "keras_hub", None)  # as if it were not installed
    path = tmp_path / "old.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(named(module, kind)))
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(InputError) as error:
        load_encoder(path)
    said, hint = error.value.args
    assert said.startswith(f"{path} cannot be loaded as a Keras encoder: Could not ")
    assert way_on in hint


def named(module: str, kind: str) -> dict[str, object]:
    """Returns what the configuration of a layer begins with."""
    return {"module": module, "class_name": kind, "config": {}, "registered_name": kind}


@pytest.mark.parametrize(
    "shapes",
    [
        lambda: (keras.Input((28, 30, 3)), pooled),
        lambda: (keras.Input((28, 28, 1)), pooled),
        lambda: (keras.Input((None, None, 3)), pooled),
        lambda: (keras.Input((28, 28, 3)), lambda image: image),
        lambda: (keras.Input((28,)), lambda image: image),
        lambda: (
            [keras.Input((28, 28, 3)), keras.Input((28, 28, 3))],
            lambda pair: pooled(layers.Add()(pair)),
        ),
        lambda: (keras.Input((28, 28, 3)), lambda image: [pooled(image), pooled(image)]),
    ],
    ids=[
        "not square",
        "grey",
        "any size",
        "an image comes out",
        "no image",
        "two inputs",
        "two outputs",
    ],
)
def test_a_keras_model_that_embeds_no_images(tmp_path, shapes):
    given, give = shapes()
    keras.Model(given, give(given)).save(tmp_path / "model.keras")
    assert "model.keras is no encoder of square colour images: " in refused(
        tmp_path / "model.keras"
    )


def test_a_keras_layer_is_no_encoder(tmp_path):
    layer = layers.Dense(3)
    layer.build((None, 5))
    keras.saving.save_model(layer, tmp_path / "layer.keras")
    assert "layer.keras cannot be loaded as a Keras encoder: " in refused(tmp_path / "layer.keras")


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("saved_model.pb", lambda path: path.write_bytes(b"")),
        ("saved_model.pb", lambda path: path.write_bytes(path.read_bytes()[:100])),
        ("variables/variables.index", lambda path: path.unlink()),
        ("variables/variables.index", lambda path: path.write_bytes(path.read_bytes()[:-9])),
        ("variables/variables.data-00000-of-00001", lambda path: path.unlink()),
        (
            "variables/variables.data-00000-of-00001",
            lambda path: path.write_bytes(path.read_bytes()[:-9]),
        ),
    ],
)
def test_a_damaged_saved_model(exported, tmp_path, file, harm):
    folder = Path(shutil.copytree(exported / "saved_model", tmp_path / "old"))
    harm(folder / file)
    assert f"{folder} cannot be loaded as a SavedModel: " in refused(folder)


def saved(
    folder: Path, function, *specs: tf.TensorSpec, signature: str = "serving_default"
) -> Path:
    module: Any = tf.Module()
    module.function = tf.function(function, input_signature=list(specs))
    tf.saved_model.save(module, str(folder), signatures={signature: module.function})
    return folder


IMAGE = tf.TensorSpec((None, 28, 28, 3), tf.float32)


def mean_colour(image):
    return {"embedding": tf.reduce_mean(image, [1, 2])}


def two_means(image, *names):
    mean = tf.reduce_mean(image, [1, 2])
    return dict.fromkeys(names, mean)


def test_a_saved_model_that_embeds_no_images(tmp_path):
    no_encoder = "is no encoder of square colour images"
    any_rank = saved(
        tmp_path / "any",
        lambda image: {"e": tf.reshape(image, [1, -1])},
        tf.TensorSpec(None, tf.float32),  # pyright: ignore[reportArgumentType]
    )
    assert f"{no_encoder}: <unknown> in" in refused(any_rank)
    text = saved(
        tmp_path / "text",
        lambda text: {"e": tf.strings.length(text)},
        tf.TensorSpec((None,), tf.string),
    )
    assert no_encoder in refused(text)
    assert "its signature has several inputs" in refused(
        saved(tmp_path / "two", lambda a, b: mean_colour(a + b), IMAGE, IMAGE)
    )
    assert f"{no_encoder}: it has the outputs e, f" in refused(
        saved(tmp_path / "out", lambda a: two_means(a, "e", "f"), IMAGE)
    )
    assert no_encoder in refused(
        saved(tmp_path / "image", lambda a: {"e": tf.reduce_mean(a, [1, 2]), "f": a}, IMAGE)
    )
    assert "'serving_default'" in refused(
        saved(tmp_path / "other", mean_colour, IMAGE, signature="other")
    )


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: b"",
        lambda content: b"x" * 99,
        # Not only at its end: what is packed behind the model is a copy for other readers.
        lambda content: content[: len(content) // 2],
    ],
)
def test_a_damaged_tflite_file(exported, tmp_path, harm):
    path = tmp_path / "old.tflite"
    path.write_bytes(harm((exported / "encoder.tflite").read_bytes()))
    assert f"{path} cannot be loaded as a TFLite encoder: " in refused(path)


def test_an_encoder_that_cannot_take_the_batch_is_named(data_root, tmp_path):
    one = tf.TensorSpec((1, 28, 28, 3), tf.float32)
    path = saved(tmp_path / "one", lambda image: {"e": tf.reshape(image, [1, 28 * 28 * 3])}, one)
    with pytest.raises(InputError, match=r"one cannot embed 72 images of 28 pixels: "):
        list(load_encoder(path).embed_data(open_data_set(data_root)))
