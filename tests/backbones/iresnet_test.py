import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras import specs
from bct_keras.backbones import BACKBONES, iresnet

pytestmark = pytest.mark.seconds(14)

# Counted in InsightFace's arcface_torch: parameters with a gradient at 112 x 112 pixels.
TRAINABLE_PARAMETERS = {
    ("iresnet18", 512): 24_025_088,
    ("iresnet34", 512): 34_138_816,
    ("iresnet50", 512): 43_590_336,
    ("iresnet100", 512): 65_155_648,
    ("iresnet200", 512): 118_833_408,
    ("iresnet18", 128): 14_390_528,
    ("iresnet50", 128): 33_955_776,
}

EMBED_WITH_KERAS_ALONE = """
import sys
sys.modules["bct_keras"] = None  # importing it fails
import keras, numpy
encoder = keras.saving.load_model(sys.argv[1])
numpy.save(sys.argv[3], encoder(numpy.load(sys.argv[2]), training=False))
"""


def images(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def with_random_weights(model: keras.Model) -> keras.Model:
    """Statistics and slopes too: as they start, swapping two of them would change nothing."""
    random = np.random.default_rng(1)
    model.set_weights([random.uniform(0.5, 1.0, weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize(
    ("name", "dims"),
    [
        pytest.param(
            name, dims, marks=[pytest.mark.long] if name in ("iresnet100", "iresnet200") else []
        )
        for name, dims in TRAINABLE_PARAMETERS
    ],
)
def test_trainable_parameters_are_those_of_the_reference(name, dims):
    model = specs.build(BACKBONES, name, image_size=112, dims=dims)
    assert (
        sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        == TRAINABLE_PARAMETERS[name, dims]
    )
    assert model.output_shape == (None, dims)


@pytest.mark.parametrize(
    ("size", "side"),
    # four convolutions of stride 2, each halving the side and rounding up
    [(28, 2), (32, 2), (64, 4), (45, 3)],
)
def test_small_backbone_takes_images_of_any_size(size, side):
    model = iresnet.iresnet_small(image_size=size, dims=6, width=4)
    (kernel,) = (
        weight for weight in model.weights if "dense" in weight.path and weight.name == "kernel"
    )
    assert kernel.shape == (side * side * 16, 6)
    embeddings = model(images(2, size))
    assert embeddings.shape == (2, 6)
    assert np.isfinite(embeddings).all()


def test_pixels_are_normalised_inside():
    model = iresnet.iresnet_small(image_size=28, dims=4, width=4)
    inside = keras.Model(model.input, model.layers[1].output)
    pixels = np.zeros((1, 28, 28, 3), np.uint8)
    pixels[0, 0, :3] = [[0, 0, 0], [255, 255, 255], [51, 102, 204]]
    # (x - 127.5) / 127.5
    expected = [[-1, -1, -1], [1, 1, 1], [-0.6, -0.2, 0.6]]
    np.testing.assert_allclose(inside(pixels)[0, 0, :3], expected, atol=1e-6)


def test_bytes_and_floats_give_the_same_embeddings():
    model = iresnet.iresnet_small(image_size=28, dims=4, width=4)
    np.testing.assert_array_equal(model(images(2, 28)), model(images(2, 28).astype(np.float32)))


def test_a_strided_convolution_is_padded_on_both_sides():
    size, stride = 6, 2
    image = keras.Input((size, size, 1))
    model = keras.Model(image, iresnet.convolution(image, width=1, kernel=3, stride=stride))
    pixels = np.random.default_rng(0).normal(size=(size, size))
    kernel = model.get_weights()[0][:, :, 0, 0]
    # PyTorch's Conv2d(kernel_size=3, stride=2, padding=1): out[y, x] = sum padded[2 y + i, 2 x + j]
    # kernel[i, j]. Keras's "same" would begin at padded[2 y + 1, 2 x + 1].
    padded = np.pad(pixels, 1)
    expected = [
        [(padded[y : y + 3, x : x + 3] * kernel).sum() for x in (0, 2, 4)] for y in (0, 2, 4)
    ]
    np.testing.assert_allclose(
        model(pixels[None, :, :, None])[0, :, :, 0], expected, rtol=1e-4, atol=1e-6
    )


def test_a_slope_for_each_channel_and_a_last_scale_fixed_at_1():
    model = iresnet.iresnet_small(image_size=28, dims=4, width=4)
    slopes = [layer.alpha.shape for layer in model.layers if isinstance(layer, keras.layers.PReLU)]
    assert slopes == [(1, 1, 4), (1, 1, 4), (1, 1, 8), (1, 1, 16)]  # the stem and three blocks
    assert not model.layers[-1].scale
    assert all(
        layer.scale
        for layer in model.layers[:-1]
        if isinstance(layer, keras.layers.BatchNormalization)
    )


def test_embeddings_are_float32_whatever_the_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = iresnet.iresnet_small(image_size=28, dims=4, width=4)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model(images(2, 28)).dtype == tf.float32
    assert {
        layer.compute_dtype for layer in model.layers if isinstance(layer, keras.layers.Conv2D)
    } == {"bfloat16"}


def test_dropout_acts_in_training_alone():
    model = iresnet.iresnet_small(image_size=28, dims=4, width=4, dropout=0.5)
    given = images(2, 28)
    np.testing.assert_array_equal(model(given), model(given))
    assert np.any(model(given, training=True) != model(given, training=True))


def test_a_saved_encoder_needs_keras_alone(tmp_path):
    model = with_random_weights(iresnet.iresnet_small(image_size=28, dims=4, width=4, dropout=0.5))
    model.save(tmp_path / "encoder.keras")
    np.save(tmp_path / "images.npy", images(3, 28))
    files = [tmp_path / name for name in ("encoder.keras", "images.npy", "embeddings.npy")]
    subprocess.run(
        [sys.executable, "-I", "-c", EMBED_WITH_KERAS_ALONE, *map(str, files)],
        check=True,
        cwd=tmp_path,
    )
    expected = model(images(3, 28))
    np.testing.assert_allclose(np.load(files[2]), expected, rtol=1e-6)
