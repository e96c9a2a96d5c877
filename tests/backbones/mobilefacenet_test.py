from typing import Any

import keras
import numpy as np
import pytest

from bct_keras.backbones import mobilefacenet

BATCH_NORM, SLOPE = 2, 1  # trainable parameters of a channel


def block_parameters(given: int, inside: int, width: int) -> int:
    pointwise = given * inside + (BATCH_NORM + SLOPE) * inside
    depthwise = 9 * inside + (BATCH_NORM + SLOPE) * inside
    return pointwise + depthwise + inside * width + BATCH_NORM * width


def reference_parameters(dims: int) -> int:
    """InsightFace's `mbf`, counted from its description: blocks (1, 4, 6, 2), scale 2, 7 x 7 places
    at the end.
    """
    stem = 27 * 128 + 3 * 128
    grouped = 9 * 2 * 128 + 3 * 128  # 64 groups: each output channel sees two input channels
    first = block_parameters(128, 128, 128) + 4 * block_parameters(128, 128, 128)
    second = block_parameters(128, 256, 256) + 6 * block_parameters(256, 256, 256)
    third = block_parameters(256, 512, 256) + 2 * block_parameters(256, 256, 256)
    last = 256 * 512 + 3 * 512 + 49 * 512 + BATCH_NORM * 512
    return stem + grouped + first + second + third + last + 512 * dims + BATCH_NORM * dims


@pytest.mark.parametrize("dims", [128, 512])
def test_trainable_parameters_are_those_of_the_reference(dims):
    model = mobilefacenet.mobilefacenet(image_size=112, dims=dims)
    assert sum(
        int(np.prod(weight.shape)) for weight in model.trainable_weights
    ) == reference_parameters(dims)


def test_it_is_as_large_as_the_reference_says():
    assert round(reference_parameters(512) / 1e6, 2) == 2.06  # papers.md


def test_sides_are_halved_four_times_and_then_weighed_to_one():
    model = mobilefacenet.mobilefacenet(image_size=112, dims=8)
    layers: list[Any] = [
        layer for layer in model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)
    ]
    assert tuple(layers[-1].kernel.shape) == (7, 7, 512, 1)
    assert tuple(layers[-1].output.shape) == (None, 1, 1, 512)
    strides = [
        layer.strides for layer in model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)
    ]
    assert strides.count((2, 2)) == 3  # and the stem


def test_small_images_are_weighed_over_the_places_they_have():
    model = mobilefacenet.mobilefacenet(image_size=32, dims=8)
    embeddings = model(np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8))
    assert embeddings.shape == (2, 8)
    assert np.isfinite(embeddings).all()
