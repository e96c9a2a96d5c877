"""A model in memory as an encoder: which embeddings are its own, and what is no encoder at all."""

import doctest
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from bct_keras.encoders import FirstDims, InMemoryEncoder, in_memory, load_encoder
from bct_keras.encoders.encoder import path_fingerprint
from bct_keras.encoders.isolated import OnnxEncoder, TFLiteEncoder
from bct_keras.encoders.keras_file import keras_file_encoder
from bct_keras.encoders.load import run_encoder
from bct_keras.encoders.saved_model import SavedModelEncoder
from bct_keras.encoders.stored import StoredEmbeddings
from bct_keras.errors import InputError
from bct_keras.evaluate.embedding_cache import EmbeddingCache

IMAGES = np.random.default_rng(3).integers(0, 256, (5, 28, 28, 3), np.uint8)


def model(seed: int = 0, activation: str = "linear") -> Any:
    image = keras.Input((28, 28, 3), name="image")
    colour = keras.layers.GlobalAveragePooling2D(name="colour")(image)
    start: Any = keras.initializers.RandomNormal(seed=seed)
    dense = keras.layers.Dense(4, activation, kernel_initializer=start, name="dense")
    return keras.Model(image, dense(colour), name="encoder")


def test_it_embeds_as_the_model_does():
    encoder = InMemoryEncoder(network := model())
    assert (encoder.image_size, encoder.dims) == (28, 4)
    expected = np.asarray(network(IMAGES.astype(np.float32)))
    np.testing.assert_allclose(encoder.embed(IMAGES), expected, rtol=1e-5, atol=1e-5)


def test_two_models_have_two_fingerprints_and_the_same_weights_the_same():
    assert InMemoryEncoder(model(0)).fingerprint == InMemoryEncoder(model(0)).fingerprint
    assert InMemoryEncoder(model(0)).fingerprint != InMemoryEncoder(model(1)).fingerprint
    copy = keras.models.clone_model(network := model(0))
    copy.set_weights(network.get_weights())
    assert InMemoryEncoder(copy).fingerprint == InMemoryEncoder(network).fingerprint


def test_another_config_with_the_same_weights_has_another_fingerprint():
    linear, cut = model(0, "linear"), model(0, "relu")
    cut.set_weights(linear.get_weights())
    assert InMemoryEncoder(linear).fingerprint != InMemoryEncoder(cut).fingerprint


def test_the_fingerprint_follows_weights_that_change():
    encoder = InMemoryEncoder(network := model())
    before = encoder.fingerprint
    kernel, bias = network.get_weights()
    network.set_weights([kernel, bias + 1])
    assert encoder.fingerprint != before
    network.set_weights([kernel, bias])
    assert encoder.fingerprint == before


def test_a_cache_never_serves_the_embeddings_of_another_model(tmp_path):
    cache = EmbeddingCache(tmp_path)
    for seed in (0, 1, 0):
        encoder = InMemoryEncoder(model(seed))
        whole = cache.get(encoder, {"data": "x"}, lambda encoder: encoder.embed(IMAGES))
        np.testing.assert_array_equal(whole, encoder.embed(IMAGES))
        first = cache.get(
            FirstDims(encoder, 2), {"data": "x"}, lambda encoder: encoder.embed(IMAGES)
        )
        np.testing.assert_array_equal(first, whole[:, :2])
    assert len(list(tmp_path.glob("*.npy"))) == 2


def test_a_model_without_a_config_is_refused_by_name():
    class Own(keras.Model):
        def __init__(self, units):
            super().__init__()
            self.inner = model()
            self.input_shape, self.output_shape = (None, 28, 28, 3), (None, units)

        def call(self, images):
            return self.inner(images)

        def get_config(self):
            raise NotImplementedError("no get_config")

    with pytest.raises(InputError, match=r"mine has no config .* no get_config"):
        _ = InMemoryEncoder(Own(4), "mine").fingerprint


@pytest.mark.parametrize(
    "load",
    [
        load_encoder,
        run_encoder,
        path_fingerprint,
        lambda path: keras_file_encoder(path, {}),
        lambda path: SavedModelEncoder(path, {}),
        lambda path: TFLiteEncoder(path, {}),
        lambda path: OnnxEncoder(path, {}),
        StoredEmbeddings,
        lambda path: load_encoder(f"keras({path}, order=bgr)"),
        lambda path: load_encoder(f"saved_model({path}, order=bgr)"),
        lambda path: load_encoder(f"tflite({path}, order=bgr)"),
        lambda path: load_encoder(f"onnx({path}, order=bgr)"),
    ],
)
@pytest.mark.parametrize("name", ["gone", "gone.keras"])
def test_a_path_that_is_not_there_is_refused_wherever_an_encoder_is_loaded(load, name, tmp_path):
    with pytest.raises(InputError, match="gone"):
        load(Path(tmp_path / name))


def test_the_example_runs():
    assert doctest.testmod(in_memory).failed == 0
