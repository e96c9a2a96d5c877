from collections.abc import Callable
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from bct_keras import distribution
from bct_keras.prepare import prepare


def pytest_configure(config):
    """Two logical CPU devices for tests of replicas: TensorFlow's devices can be set only before it starts."""
    if not config.getoption("numprocesses", None):  # xdist's controller runs no test itself
        distribution.divide_cpu(2)


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.Strategy:
    """One for all tests: a second one would number its collective operations as the first did, and both fail."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def data_root(tmp_path_factory) -> Path:
    """72 images of 28 pixels, 12 identities of 6 images: 2 in the view old, 6 in new, 4 in test."""
    root = tmp_path_factory.mktemp("data") / "faces"
    prepare("synthetic(identities=12, images=6, image_size=28)", "class(old_share=0.3, test_share=0.34)", root)
    return root


@pytest.fixture(scope="session")
def tiny_encoder_path(tmp_path_factory) -> Callable[[int], Path]:
    """Makes the .keras file of an encoder of 28-pixel images: the mean colour, through a fixed matrix."""

    def make(dims: int) -> Path:
        path = tmp_path_factory.mktemp("encoder") / f"mean_colour_{dims}.keras"
        image = keras.Input((28, 28, 3))
        colour = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
        start = keras.initializers.RandomNormal(seed=dims)
        embedding = keras.layers.Dense(dims, kernel_initializer=start)(colour)  # pyright: ignore[reportArgumentType]
        keras.Model(image, embedding).save(path)
        return path

    return make
