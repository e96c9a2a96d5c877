import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from bct_keras import specs
from bct_keras.backbones import BACKBONES, iresnet, one_dnn
from bct_keras.encoders import KerasEncoder
from bct_keras.errors import InputError
from bct_keras.explain.subject import Subject
from bct_keras.methods import METHODS
from bct_keras.train.recipe import Recipe

pytestmark = pytest.mark.seconds(11)

GOLDEN = Path(__file__).parent.parent / "golden"
# Of images() by the encoder in golden/strided_shortcuts.keras: iresnet_small(width=2) of 28 pixels
# and 3 dimensions, with uniform random weights of 0.5 to 1. Both were made by the code before its
# shortcuts took every second pixel.
EMBEDDINGS_BEFORE = [[23227260.0, 19479010.0, 19337754.0], [121372630.0, 101462110.0, 100251890.0]]
DEEP = ("iresnet50", "iresnet100", "iresnet200", "vit_base")
NETWORKS = [name for name in dir(keras.applications) if name[0].isupper()]


def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 28, 28, 3), np.uint8)


def strided_network(image_size: int, dims: int) -> keras.Model:
    """A backbone of somebody else."""
    image = keras.Input((image_size, image_size, 3))
    features = layers.Conv2D(8, 1, strides=2, name="shortcut")(image)
    return keras.Model(image, layers.Dense(dims)(layers.Flatten()(features)))


class Holder(layers.Layer):
    """A layer that holds another, and is no model."""

    def __init__(self, held: layers.Layer):
        super().__init__()
        self.held = held

    def call(self, features):
        return self.held(features)


def found(layer: layers.Layer, channels: int, nested: bool = False) -> list[Any]:
    given = keras.Input((8, 8, channels))
    model = keras.Model(given, layer(given))
    if nested:
        again = keras.Input((8, 8, channels))
        model = keras.Model(again, Holder(model)(again))
    return one_dnn.unsafe_layers(model)


@pytest.mark.parametrize(
    "spec",
    [
        *(
            pytest.param(name, marks=[pytest.mark.long] if name in DEEP else [])
            for name in BACKBONES
            if name != "applications"
        ),
        "iresnet_small(width=1)",
        *(pytest.param(f"applications(name={name})", marks=pytest.mark.long) for name in NETWORKS),
    ],
)
def test_no_backbone_has_a_gradient_that_one_dnn_gets_wrong(spec):
    model = specs.build(BACKBONES, spec, image_size=331 if "(name" in spec else 32, dims=4)
    assert one_dnn.unsafe_layers(model) == []


@pytest.mark.parametrize(
    ("layer", "channels"),
    [
        (layers.Conv2D(32, 1, strides=2), 15),
        (layers.Conv2D(32, (1, 1), strides=(1, 3), padding="same", use_bias=False), 3),
        (layers.Conv2D(32, 1, strides=2, groups=2), 8),
        (layers.Conv2DTranspose(15, 1, strides=2), 32),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_strided_pointwise_convolution_is_found_wherever_it_stands(layer, channels, nested):
    layer = type(layer).from_config(layer.get_config())
    assert found(layer, channels, nested) == [layer]


@pytest.mark.parametrize(
    ("layer", "channels"),
    [
        (layers.Conv2D(4, 1), 3),
        (layers.Conv2D(4, 1, strides=2), 16),
        (layers.Conv2D(4, 1, strides=2, groups=4), 32),
        (layers.Conv2D(4, 3, strides=2), 3),
        (layers.DepthwiseConv2D(1, strides=2), 3),
        (layers.Conv2DTranspose(16, 1, strides=2), 3),
    ],
)
def test_others_are_not(layer, channels):
    assert found(layer, channels) == []


def test_training_and_explaining_are_refused_and_embedding_is_not(monkeypatch):
    monkeypatch.setattr(one_dnn, "is_on", lambda: True)
    said = (
        "its layer shortcut, a strided 1x1 convolution of fewer than 16 channels.*\nSet"
        " TF_ENABLE_ONEDNN_OPTS=0 "
    )
    monkeypatch.setitem(BACKBONES, "strided", strided_network)
    recipe = Recipe("strided", 4, "softmax", "independent", "sgd", "cosine", 0.1, 2, 1, False, 0)
    with pytest.raises(InputError, match=f"backbone=strided: .*{said}"):
        recipe.build_model(28, 2, 1, specs.build(METHODS, "independent"))
    encoder = KerasEncoder(Path("other.keras"), strided_network(28, 4))
    with pytest.raises(InputError, match=f"other.keras: .*{said}"):
        Subject(encoder, 4)
    assert encoder.embed(images()).shape == (2, 4)


def test_neither_is_refused_without_one_dnn(monkeypatch):
    monkeypatch.setattr(one_dnn, "is_on", lambda: False)
    assert Subject(KerasEncoder(Path("other.keras"), strided_network(28, 4)), 4).has_gradients


@pytest.mark.long
@pytest.mark.long
@pytest.mark.parametrize("value", ["0", "1"])
def test_whether_it_is_on_goes_by_the_environment(value):
    """A process of its own: TensorFlow reads the variable once."""
    script = "import bct_keras; from bct_keras.backbones import one_dnn; print(one_dnn.is_on())"
    environment = {
        "PYTHONPATH": str(GOLDEN.parent.parent),
        one_dnn.SWITCH: value,
        "CUDA_VISIBLE_DEVICES": "",
    }
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == str(value == "1")


def test_an_encoder_of_before_gives_the_same_and_its_weights_fit():
    before: Any = keras.saving.load_model(GOLDEN / "strided_shortcuts.keras")
    now = iresnet.iresnet_small(28, 3, width=2)
    assert len(one_dnn.unsafe_layers(before)) == 3
    # Checkpoints hold the weights in this order.
    assert [(weight.name, weight.shape) for weight in now.weights] == [
        (weight.name, weight.shape) for weight in before.weights
    ]
    now.load_weights(GOLDEN / "strided_shortcuts.keras")
    np.testing.assert_allclose(before(images()), EMBEDDINGS_BEFORE, rtol=1e-5)
    np.testing.assert_allclose(now(images()), EMBEDDINGS_BEFORE, rtol=1e-5)


@pytest.mark.parametrize("size", [8, 9])
def test_a_shortcut_is_a_strided_convolution_forward_and_backward(size):
    given = keras.Input((size, size, 16))
    block = keras.Model(given, iresnet.residual_block(given, 4, stride=2))
    (shortcut,) = (layer for layer in block.layers if getattr(layer, "kernel_size", None) == (1, 1))
    ours = keras.Model(given, shortcut.output)
    # 16 channels: their gradient is right with oneDNN too.
    features = tf.constant(np.random.default_rng(0).normal(size=(2, size, size, 16)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(features)
        found = ours(features)
        expected = tf.nn.conv2d(features, shortcut.kernel, 2, "VALID")
        sums = [tf.reduce_sum(value**2) for value in (found, expected)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    for source in (features, shortcut.kernel.value):
        mine, reference = (np.asarray(tape.gradient(total, source)) for total in sums)
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-5)
