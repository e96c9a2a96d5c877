import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras import specs
from bct_keras.backbones import BACKBONES, vit
from bct_keras.data.dataset import open_data_set
from bct_keras.data.embeddings import normalised
from bct_keras.encoders import keras_file_encoder, load_encoder
from bct_keras.export.formats import FORMATS
from bct_keras.export.formats.format import Source


def reference_parameters(width: int, depth: int, dims: int) -> int:
    """Of arcface_torch's vit_t, vit_s, vit_b at 112 x 112, counted from their description: 12 x 12
    patches of 9 x 9.
    """
    norm, places = 2 * width, 12 * 12
    patches = 9 * 9 * 3 * width + width + places * width
    attention = norm + 3 * width * width + width * width + width  # q, k and v without a bias
    wider = norm + 4 * width * width + 4 * width + 4 * width * width + width
    ending = norm + places * width * width + 2 * width + width * dims + 2 * dims
    return (
        patches + depth * (attention + wider) + ending + width
    )  # and a token for patches that are masked


@pytest.mark.parametrize(
    ("name", "width", "depth"),
    [("tiny", 256, 12), ("small", 512, 12), pytest.param("base", 512, 24, marks=pytest.mark.long)],
)
def test_trainable_parameters_are_those_of_the_reference(name, width, depth):
    model = specs.build(BACKBONES, f"vit_{name}", image_size=112, dims=512)
    parameters = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    # Theirs has a bias of the patches that a place's own bias makes needless, and that token: 2 *
    # width more.
    assert parameters == reference_parameters(width, depth, 512) - 2 * width
    assert parameters == pytest.approx(reference_parameters(width, depth, 512), rel=1e-3)


@pytest.fixture(scope="module")
def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    return vit.vit(28, 6, width=32, depth=2, drop_path=0.5, name="vit_of_two_blocks")


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 28, 28, 3), np.uint8)


def test_a_patch_is_projected_with_a_bias_of_its_place():
    features = keras.Input((28, 28, 3))
    model = keras.Model(features, vit.patches(features, 3, 16))
    kernel, bias = model.get_weights()
    given = np.random.default_rng(0).random((2, 28, 28, 3), np.float32)
    expected = (
        np.tensordot(given[:, 9:18, 18:27], kernel, 3) + bias[1, 2]
    )  # the patch of row 1, column 2
    np.testing.assert_allclose(model(given)[:, 1 * 3 + 2], expected, rtol=1e-5, atol=1e-6)


def test_attention_is_that_of_the_paper():
    features = keras.Input((5, 16))
    model = keras.Model(features, vit.attention(features))
    qkv, ending, bias = model.get_weights()
    given = np.random.default_rng(0).normal(size=(1, 5, 16)).astype(np.float32)
    # Each of 8 heads has 2 coordinates: softmax(q k^T / sqrt(2)) v
    query, key, value = (
        (given[0] @ qkv)[:, start : start + 16].reshape(5, 8, 2) for start in (0, 16, 32)
    )
    scores = np.exp(np.einsum("qhs,khs->hqk", query, key) / np.sqrt(2))
    mixed = np.einsum("hqk,khs->qhs", scores / scores.sum(-1, keepdims=True), value).reshape(5, 16)
    np.testing.assert_allclose(model(given)[0], mixed @ ending + bias, rtol=1e-4, atol=1e-6)


def test_branches_are_left_out_for_some_images_and_only_while_training(small):
    given = np.repeat(images(1), 64, axis=0)
    # Before the last two BatchNorms equal images stay equal, whatever the batch.
    inside = keras.Model(
        small.input,
        next(layer for layer in small.layers if layer.name.startswith("flatten")).output,
    )
    assert len(np.unique(np.asarray(inside(given, training=False)).round(3), axis=0)) == 1
    training = np.asarray(inside(given, training=True))
    # The second of two blocks has two branches, each there or not.
    assert len(np.unique(training.round(3), axis=0)) == 4


@pytest.mark.long
@pytest.mark.parametrize("name", ["saved_model", "tflite", "tflite_int8"])
def test_it_is_exported(small, tmp_path, data_root, name):
    small.save(tmp_path / "encoder.keras")
    source = Source(
        keras_file_encoder(tmp_path / "encoder.keras", {}),
        calibration=open_data_set(data_root / "new"),
    )
    file = tmp_path / FORMATS[name].file
    FORMATS[name].write(source, file)
    ours, theirs = (
        normalised(encoder.embed(images(8))) for encoder in (source.encoder, load_encoder(file))
    )
    assert np.sum(ours * theirs, axis=1).min() > (0.9 if name == "tflite_int8" else 0.99999)


def test_sixteen_bits_end_in_thirty_two():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = vit.vit(28, 6, width=32, depth=1, drop_path=0.0, name="vit_of_one_block")
    finally:
        keras.config.set_dtype_policy("float32")
    assert model(images(2)).dtype == tf.float32
