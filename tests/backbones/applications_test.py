from typing import Any

import keras
import numpy as np
import pytest

from bct_keras import specs
from bct_keras.backbones import BACKBONES, applications
from bct_keras.errors import InputError


def build(spec: str, image_size: int = 32) -> keras.Model:
    return specs.build(BACKBONES, spec, image_size=image_size, dims=8)


def scaled(name: str, pixels: np.ndarray) -> np.ndarray:
    image = keras.Input((2, 2, 3))
    network = applications.network_of(name)
    return np.asarray(
        keras.Model(image, applications.as_its_family_expects(network, image))(pixels)
    )[0, 0, 0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MobileNetV2", [-1.0, 0.6, 1.0]),  # x / 127.5 - 1
        (
            "ResNet50",
            [255 - 103.939, 204 - 116.779, 0 - 123.68],
        ),  # blue first, less the mean of ImageNet
        (
            "DenseNet121",
            [-0.485 / 0.229, (0.8 - 0.456) / 0.224, (1 - 0.406) / 0.225],
        ),  # less mean, over deviation
        ("EfficientNetB0", [0, 204, 255]),  # scales its pixels itself
    ],
)
def test_pixels_come_as_the_family_expects(name, expected):
    pixels = np.full((1, 2, 2, 3), [0, 204, 255], np.uint8)
    np.testing.assert_allclose(scaled(name, pixels), expected, rtol=1e-5, atol=1e-6)


def test_the_classifier_gives_way_to_an_embedding():
    model = build("applications(name=MobileNetV2)")
    # Keras's documentation: 2,257,984 without the classifier, of which 34,112 are statistics of
    # BatchNorm
    parameters = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert parameters == 2_257_984 - 34_112 + 1280 * 8 + 2 * 8
    assert model.output_shape == (None, 8)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 53  # all of the network and ours can be found, to be synchronized


def test_weights_of_a_file(tmp_path):
    network: Any = keras.applications.MobileNetV2
    start = network(include_top=False, weights=None, pooling="avg", input_shape=(32, 32, 3))
    start.save_weights(tmp_path / "start.weights.h5")
    model = build(f"applications(name=MobileNetV2, weights='{tmp_path / 'start.weights.h5'}')")
    for ours, theirs in zip(model.get_weights(), start.get_weights(), strict=False):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            "applications(name=MobileNet9)",
            "MobileNet9.* is unknown; known: .*MobileNetV2, .*ResNet50",
        ),
        ("applications(name=InceptionV3)", "InceptionV3.* with images of 28 pixels: "),
        ("applications(name=VGG16, weights=none.h5)", "weights.*path to the weights file"),
    ],
)
def test_what_cannot_be_built_is_told(spec, said):
    with pytest.raises(InputError, match=said):
        build(spec, image_size=28)
