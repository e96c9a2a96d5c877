from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras import adapters, artefacts
from bct_keras.adapters.folding import with_adapter
from bct_keras.encoders import (
    AdaptedEncoder,
    FusedEncoder,
    InMemoryEncoder,
    TwoOutputs,
    load_adapter,
    load_encoder,
)
from bct_keras.encoders.stored import StoredEmbeddings
from bct_keras.errors import InputError
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.vectors import normalised

DIMS, OLD_DIMS = 6, 4
KINDS = {"procrustes": {}, "linear": {"ridge": 0.1}, "residual": {"steps": 5, "hidden": 8}}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)


def tiny_encoder(dims: int, seed: int) -> keras.Model:
    image = keras.Input((8, 8, 3))
    scaled = keras.layers.Rescaling(1 / 255)(image)
    flat = keras.layers.Flatten()(scaled)
    initializer: Any = keras.initializers.GlorotUniform(seed)
    return keras.Model(image, keras.layers.Dense(dims, kernel_initializer=initializer)(flat))


@pytest.fixture(scope="module")
def new() -> InMemoryEncoder:
    return InMemoryEncoder(tiny_encoder(DIMS, 1), "new")


@pytest.fixture(scope="module")
def old() -> InMemoryEncoder:
    return InMemoryEncoder(tiny_encoder(OLD_DIMS, 2), "old")


@pytest.fixture(scope="module")
def adapter(new, old, images):
    return adapters.fit("linear", new.embed(images), old.embed(images), ridge=0.1)


def test_adapted_embeddings_are_those_of_the_adapter(new, adapter, images):
    encoder = AdaptedEncoder(new, adapter)
    line = adapter.line.get_weights()
    expected = normalised(normalised(new.embed(images)) @ line[0] + line[1])
    np.testing.assert_allclose(encoder.embed(images), expected, atol=1e-5)
    assert encoder.dims == OLD_DIMS
    assert encoder.fingerprint != new.fingerprint


def test_another_adapter_has_another_fingerprint(new, old, images, adapter):
    other = adapters.fit("procrustes", new.embed(images), old.embed(images))
    first = AdaptedEncoder(new, adapter).fingerprint
    assert first != AdaptedEncoder(new, other).fingerprint
    assert first == AdaptedEncoder(new, adapter, "elsewhere.keras").fingerprint


def test_an_adapter_of_other_dims_is_refused(old, adapter):
    with pytest.raises(InputError, match=r"takes embeddings of 6 dimensions, and old gives 4"):
        AdaptedEncoder(old, adapter)


def test_a_fused_query_is_the_mean_of_both_at_length_1(new, old, adapter, images):
    encoder = FusedEncoder(AdaptedEncoder(new, adapter), old, 0.25)
    of_new = AdaptedEncoder(new, adapter).embed(images)
    mean = 0.25 * of_new + 0.75 * normalised(old.embed(images))
    lengths = np.sqrt((mean**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(encoder.embed(images), mean / lengths, atol=1e-6)


@pytest.mark.parametrize("weight", [-0.1, 1.5])
def test_a_weight_beyond_0_and_1_is_refused(old, weight):
    with pytest.raises(InputError, match="between 0 and 1"):
        FusedEncoder(old, old, weight)


def test_encoders_of_different_dims_are_not_fused(new, old):
    with pytest.raises(InputError, match="new has 6 compatible dimensions and old 4"):
        FusedEncoder(new, old)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folded_adapter_gives_two_outputs_in_one_file(kind, new, old, images, tmp_path):
    source, target = new.embed(images), old.embed(images)
    adapter = adapters.fit(kind, source, target, **KINDS[kind])
    path = tmp_path / "folded.keras"
    with_adapter(new.model, adapter).save(path)
    encoder = load_encoder(path)
    assert isinstance(encoder, TwoOutputs)
    assert (encoder.dims, encoder.compatible_dims) == (DIMS, OLD_DIMS)
    np.testing.assert_allclose(encoder.embed(images), source, atol=1e-5)
    expected = adapter.predict(source, verbose=0)
    np.testing.assert_allclose(encoder.compatible.embed(images), expected, atol=1e-5)


def test_a_folded_model_is_of_layers_of_keras_alone(new, adapter):
    folded = with_adapter(new.model, adapter)
    modules = {type(layer).__module__.partition(".")[0] for layer in folded.layers}
    assert modules == {"keras"}


def test_an_adapter_is_not_folded_behind_an_encoder_of_other_dims(old, adapter):
    with pytest.raises(InputError, match="takes embeddings of 6 dimensions, and the encoder gives"):
        with_adapter(old.model, adapter)


def test_one_pass_embeds_both_outputs(new, adapter, images, tmp_path):
    path = tmp_path / "folded.keras"
    with_adapter(new.model, adapter).save(path)
    encoder = load_encoder(path)
    passes = []

    def make(whole):
        passes.append(whole)
        return whole.embed(images)

    cache = EmbeddingCache(tmp_path / "kept")
    free = cache.get(encoder, {"images": "these"}, make)
    compatible = cache.get(encoder.compatible, {"images": "these"}, make)
    assert len(passes) == 1
    assert free.shape == (len(images), DIMS)
    np.testing.assert_array_equal(compatible, encoder.compatible.embed(images))


def test_an_adapter_is_read_from_its_file(adapter, images, new, tmp_path):
    path = tmp_path / "adapter.keras"
    adapter.save(path)
    found = load_adapter(path)
    given = new.embed(images)
    expected = adapter.predict(given, verbose=0)
    np.testing.assert_array_equal(found.predict(given, verbose=0), expected)


def test_an_encoder_is_no_adapter(new, tmp_path):
    path = tmp_path / "encoder.keras"
    new.model.save(path)
    with pytest.raises(InputError, match=r"holds a Functional and no adapter"):
        load_adapter(path)


def test_a_damaged_adapter_is_told(adapter, tmp_path):
    path = tmp_path / "adapter.keras"
    adapter.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"adapter\.keras"):
        load_adapter(path)


def test_specs_name_adapted_and_fused_encoders(new, old, adapter, images, tmp_path):
    new.model.save(tmp_path / "new.keras")
    old.model.save(tmp_path / "old.keras")
    adapter.save(tmp_path / "map.keras")
    adapted = f"adapted({tmp_path}/new.keras, {tmp_path}/map.keras)"
    encoder = load_encoder(f"fused({adapted}, {tmp_path}/old.keras, weight=0.7)")
    expected = FusedEncoder(AdaptedEncoder(new, adapter), old, 0.7).embed(images)
    np.testing.assert_allclose(encoder.embed(images), expected, atol=1e-5)
    again = load_encoder(encoder.spec)
    assert again.fingerprint == encoder.fingerprint


def stored(path, ids, embeddings, **others) -> StoredEmbeddings:
    np.savez(path, ids=np.array(ids), embeddings=embeddings, **others)
    return StoredEmbeddings(path)


def test_stored_embeddings_are_adapted_and_fused_by_ids(new, old, adapter, images, tmp_path):
    ids = [f"text {number}" for number in range(len(images))]
    of_new = stored(tmp_path / "new.npz", ids, new.embed(images))
    of_old = stored(tmp_path / "old.npz", ids[::-1], old.embed(images)[::-1])
    fused = FusedEncoder(AdaptedEncoder(of_new, adapter), of_old, 0.5)
    expected = FusedEncoder(AdaptedEncoder(new, adapter), old, 0.5).embed(images[:3])
    np.testing.assert_allclose(fused.of_ids(ids[:3]), expected, atol=1e-6)
    with pytest.raises(InputError, match=r"old\.npz has no embedding for nobody|nobody"):
        fused.of_ids(["nobody"])


def test_labels_of_stored_embeddings_are_one_for_each(tmp_path):
    values = np.eye(3, dtype=np.float32)
    found = stored(tmp_path / "a.npz", ["a", "b", "c"], values, labels=np.array(["x", "x", "y"]))
    assert found.labels is not None
    assert found.labels.tolist() == ["x", "x", "y"]
    with pytest.raises(InputError, match="one for each id"):
        stored(tmp_path / "b.npz", ["a", "b", "c"], values, labels=np.array([1, 2]))


def test_artefacts_do_not_mix_up_the_fused(old):
    names = {FusedEncoder(old, old, weight).fingerprint for weight in (0.0, 0.5, 1.0)}
    assert len(names) == 3
    assert all(len(name) == len(artefacts.fingerprint("")) for name in names)


@pytest.fixture(scope="module")
def two_outputs(tmp_path_factory):
    """A function of pixels with two outputs, as a SavedModel and as a .tflite file."""
    folder = tmp_path_factory.mktemp("two") / "saved"
    module: Any = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.uint8, name="image")])
    def serve(image):
        mean = tf.reduce_mean(tf.cast(image, tf.float32), [1, 2])
        # In the order of the letters the other name would come first.
        return {"embedding_compatible": mean[:, :2] * 2.0, "embedding": mean}

    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
    path = folder.parent / "two.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert())
    return {"saved_model": folder, "tflite": path}


@pytest.mark.parametrize("kind", ["saved_model", "tflite"])
def test_files_of_two_outputs_are_told_apart_by_their_names(kind, two_outputs, images):
    encoder = load_encoder(two_outputs[kind])
    assert (encoder.dims, encoder.compatible_dims) == (3, 2)
    mean = images.mean(axis=(1, 2))
    np.testing.assert_allclose(encoder.embed(images), mean, rtol=1e-5)
    np.testing.assert_allclose(encoder.compatible.embed(images), 2 * mean[:, :2], rtol=1e-5)
