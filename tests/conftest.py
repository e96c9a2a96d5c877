import pytest
import tensorflow as tf

from bct_keras import distribution


def pytest_configure(config):
    """Two logical CPU devices for tests of replicas: TensorFlow's devices can be set only before it starts."""
    if not config.getoption("numprocesses", None):  # xdist's controller runs no test itself
        distribution.divide_cpu(2)


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.Strategy:
    """One for all tests: a second one would number its collective operations as the first did, and both fail."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
