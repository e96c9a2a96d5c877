import keras
import numpy as np
import pytest

from bct_keras.backbones.mobilefacenet import mobilefacenet
from bct_keras.export.formats.device_layers import GroupsByDepth, ScaledPReLU, fast_in_int8


def features(channels: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 6, 6, channels)).astype(np.float32)


@pytest.mark.parametrize(
    ("lowest", "highest"), [(0.1, 0.9), (-0.5, 1.7)], ids=["below 1", "on both sides of 1"]
)
def test_prelu_is_the_same_function(lowest, highest):
    layer = keras.layers.PReLU(shared_axes=[1, 2])
    layer.build((None, 6, 6, 8))
    layer.set_weights([np.linspace(lowest, highest, 8).reshape(1, 1, 8)])
    np.testing.assert_allclose(
        ScaledPReLU(layer)(features(8)), layer(features(8)), rtol=1e-5, atol=1e-6
    )


# Channels of a group in and out, here 2, 3 and 4 of 12.
@pytest.mark.parametrize("groups", [6, 4, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_groups_by_depth_are_the_same_convolution(groups, stride):
    layer = keras.layers.Conv2D(12, 3, stride, groups=groups, use_bias=False)
    expected = layer(features(12))
    assert GroupsByDepth.fits(layer)
    np.testing.assert_allclose(GroupsByDepth(layer)(features(12)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"groups": 1}, {"groups": 2}, {"groups": 6, "use_bias": True}])
def test_other_convolutions_stay(options):
    layer = keras.layers.Conv2D(12, 3, **{"use_bias": False, **options})
    layer(features(12))
    assert not GroupsByDepth.fits(layer)


def test_a_whole_network_is_the_same_function_with_the_same_weights():
    model = mobilefacenet(image_size=32, dims=8)
    fast = fast_in_int8(model)
    kinds = [type(layer) for layer in fast.layers]
    assert kinds.count(ScaledPReLU) == 33
    assert kinds.count(GroupsByDepth) == 1
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    np.testing.assert_allclose(fast(images), model(images), rtol=1e-3, atol=1e-4)
    assert {id(weight) for weight in fast.weights} <= {id(weight) for weight in model.weights}
