"""Every kind of encoder.

export_test.py has more of what `export` writes, encoders_refused_test.py the bad files.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from bct_keras import artefacts
from bct_keras.data.dataset import ids_of, open_data_set
from bct_keras.data.embeddings import normalised
from bct_keras.encoders import (
    KerasEncoder,
    SavedModelEncoder,
    TFLiteEncoder,
    load_encoder,
)
from bct_keras.errors import InputError

DIMS = 4


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (count, 28, 28, 3), np.uint8)


@pytest.fixture(scope="module")
def expected(keras_file) -> np.ndarray:
    """Embeddings by Keras alone."""
    model: Any = keras.saving.load_model(keras_file)
    return np.asarray(model(images().astype(np.float32)))


def test_a_keras_file_and_a_run(keras_file, run, expected):
    for path in (keras_file, str(run)):
        encoder = load_encoder(path)
        assert isinstance(encoder, KerasEncoder)
        assert (encoder.image_size, encoder.dims) == (28, DIMS)
        found = encoder.embed(images())
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert (
        load_encoder(keras_file).fingerprint
        == load_encoder(run).fingerprint
        == artefacts.file_sha256(keras_file)
    )


@pytest.mark.parametrize(
    ("name", "kind"), [("saved_model", SavedModelEncoder), ("encoder.tflite", TFLiteEncoder)]
)
def test_exported_files(exported, expected, name, kind):
    encoder = load_encoder(exported / name)
    assert isinstance(encoder, kind)
    assert (encoder.image_size, encoder.dims) == (28, DIMS)
    found = encoder.embed(images())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, normalised(expected), rtol=0, atol=1e-5)


def test_a_saved_model_as_keras_writes_it(keras_file, expected, tmp_path):
    model: Any = keras.saving.load_model(keras_file)
    model.export(tmp_path / "served", verbose=False)
    np.testing.assert_allclose(
        load_encoder(tmp_path / "served").embed(images()), expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("kind", [tf.uint8, tf.int8])
def test_a_quantised_tflite_file_takes_images_and_gives_embeddings(
    keras_file, expected, tmp_path, kind
):
    model: Any = keras.saving.load_model(keras_file)
    model.export(tmp_path / "served", verbose=False)
    converter: Any = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "served"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = kind
    # Quantised to the range of these: nearly 256 levels between the least and the most of any
    # coordinate.
    seen = np.concatenate(
        [images(), np.zeros((1, 28, 28, 3)), np.full((1, 28, 28, 3), 255)]
    ).astype(np.float32)
    converter.representative_dataset = lambda: ([image[None]] for image in seen)
    (tmp_path / "quantised.tflite").write_bytes(converter.convert())
    found = load_encoder(tmp_path / "quantised.tflite").embed(images())
    assert found.dtype == np.float32
    extremes = np.asarray(model(seen))
    np.testing.assert_allclose(found, expected, rtol=0, atol=3 * np.ptp(extremes) / 256)


def test_the_fingerprint_of_a_saved_model_is_that_of_its_files(exported, tmp_path):
    copy = Path(shutil.copytree(exported / "saved_model", tmp_path / "copy"))
    assert load_encoder(copy).fingerprint == load_encoder(exported / "saved_model").fingerprint
    (copy / "assets").mkdir(exist_ok=True)
    (copy / "assets" / "note").write_text("x")
    assert load_encoder(copy).fingerprint != load_encoder(exported / "saved_model").fingerprint


def test_embed_data_goes_through_the_records_in_stored_order(keras_file, data_root):
    data = open_data_set(data_root)
    encoder = load_encoder(keras_file)
    found = list(encoder.embed_data(data))
    ids = [name for _, batch in found for name in ids_of(batch)]
    assert ids == [name for batch in data.batches(7) for name in ids_of(batch)]
    assert len(ids) == 72
    for embeddings, batch in found:
        np.testing.assert_array_equal(embeddings, encoder.embed(batch["image"].numpy()))


def test_embed_data_reads_the_shards_it_is_given(keras_file, data_root):
    data = open_data_set(data_root)
    one, *_ = data.shards
    assert (
        sum(len(embeddings) for embeddings, _ in load_encoder(keras_file).embed_data(data, (one,)))
        == one.records
    )


def test_images_are_resized_to_what_the_encoder_takes(data_root, tmp_path):
    image = keras.Input((20, 20, 3))
    keras.Model(image, layers.GlobalAveragePooling2D()(image)).save(tmp_path / "of_20_pixels.keras")
    data = open_data_set(data_root)
    ((embeddings, batch),) = load_encoder(tmp_path / "of_20_pixels.keras").embed_data(data)
    assert batch["image"].shape == (72, 20, 20, 3)
    (whole,) = data.batches(72)
    # A smaller picture of the same thing has about the same mean colour.
    np.testing.assert_allclose(embeddings, np.mean(whole["image"], axis=(1, 2)), atol=4)


def test_a_saved_model_of_bytes_gets_bytes(tmp_path):
    module: Any = tf.Module()
    module.serve = tf.function(
        lambda image: {"embedding": tf.reduce_mean(tf.cast(image, tf.float32), [1, 2])},
        input_signature=[tf.TensorSpec((None, 28, 28, 3), tf.uint8)],
    )
    tf.saved_model.save(
        module, str(tmp_path / "bytes"), signatures={"serving_default": module.serve}
    )
    np.testing.assert_allclose(
        load_encoder(tmp_path / "bytes").embed(images()), images().mean((1, 2)), rtol=1e-5
    )


def test_an_embedding_that_is_no_number_is_an_error_that_names_the_image(
    keras_file, data_root, monkeypatch
):
    data = open_data_set(data_root)
    data = replace(data, shards=data.shards[:1])
    embed = KerasEncoder.embed

    def with_nan_in_row_2(self, images):
        embeddings = embed(self, images)
        return np.where(np.arange(len(embeddings))[:, None] == 2, np.nan, embeddings)

    monkeypatch.setattr(KerasEncoder, "embed", with_nan_in_row_2)
    third = [name for batch in data.batches(3) for name in ids_of(batch)][2]
    with pytest.raises(InputError, match=rf"gives no finite embedding for image {third}$"):
        list(load_encoder(keras_file).embed_data(data))
