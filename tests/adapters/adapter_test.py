"""An adapter as a Keras model: saved, cloned, called and put behind an encoder."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import bct_keras as bct
from bct_keras.adapters import ADAPTERS

RANDOM = np.random.default_rng(0)
SOURCE = RANDOM.normal(size=(100, 6)).astype(np.float32)
TARGET = RANDOM.normal(size=(100, 4)).astype(np.float32)


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> Any:
    options: dict[str, Any] = {"steps": 10, "hidden": 16} if request.param == "residual" else {}
    return bct.adapters.fit(request.param, SOURCE, TARGET, **options)


def embedded(model: Any, source: np.ndarray = SOURCE) -> np.ndarray:
    return model.predict(source, verbose=0)


def test_a_saved_adapter_is_the_same_when_it_is_loaded(adapter, tmp_path: Path):
    adapter.save(tmp_path / "adapter.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "adapter.keras")
    assert type(loaded) is type(adapter)
    assert loaded.get_config() == adapter.get_config()
    np.testing.assert_array_equal(embedded(loaded), embedded(adapter))


def test_it_is_registered_under_the_packages_name(adapter):
    name = keras.saving.get_registered_name(type(adapter))
    assert name == f"bct_keras>{type(adapter).__name__}"


def test_a_clone_has_the_shapes_and_takes_the_weights(adapter):
    clone: Any = keras.models.clone_model(adapter)
    clone.set_weights(adapter.get_weights())
    np.testing.assert_array_equal(embedded(clone), embedded(adapter))


def test_a_call_is_what_predict_gives_and_an_encoder_may_stand_before_it(adapter, tmp_path: Path):
    np.testing.assert_allclose(adapter(SOURCE).numpy(), embedded(adapter), atol=1e-6)
    image = keras.Input((8, 8, 3))
    embedding = keras.layers.Dense(6)(keras.layers.Flatten()(image))
    encoder: Any = keras.Model(image, embedding)
    both: Any = keras.Model(image, adapter(embedding))
    images = RANDOM.normal(size=(5, 8, 8, 3))
    expected = embedded(adapter, encoder.predict(images, verbose=0))
    np.testing.assert_allclose(embedded(both, images), expected, atol=1e-5)
    both.save(tmp_path / "both.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "both.keras")
    np.testing.assert_array_equal(embedded(loaded, images), embedded(both, images))


def test_batches_change_nothing_and_a_vector_of_zeros_stays_one(adapter):
    whole = embedded(adapter)
    np.testing.assert_allclose(adapter.predict(SOURCE, batch_size=7, verbose=0), whole, atol=1e-6)
    assert np.isfinite(embedded(adapter, np.zeros((2, 6)))).all()
    assert embedded(adapter, SOURCE.astype(np.float16)).dtype == np.float32


def test_mixed_precision_leaves_it_in_float32(adapter):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        made = type(adapter).from_config(adapter.get_config())
        fresh = type(adapter)(6, 4)
        assert made(SOURCE).dtype == fresh(SOURCE).dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


def test_embeddings_of_another_encoder_are_refused_in_a_plain_line(adapter):
    with pytest.raises(
        bct.InputError,
        match=r"^the adapter takes embeddings \[n, 6\], and these are \[100, 4\]$",
    ):
        adapter.predict(TARGET)
