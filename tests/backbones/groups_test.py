from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from bct_keras import _tensorflow
from bct_keras.backbones import groups
from bct_keras.heads import Softmax
from bct_keras.methods import Independent
from bct_keras.models import CompatibleModel


@pytest.mark.parametrize("one_dnn", [True, False])
@pytest.mark.parametrize(
    "options", [{"padding": "same"}, {"padding": "valid", "strides": 2}, {"use_bias": True}]
)
def test_the_numbers_are_those_of_keras(one_dnn, options, monkeypatch):
    if one_dnn and not _tensorflow.uses_one_dnn():
        pytest.skip("TensorFlow computes without oneDNN here, and has no such gradient")
    monkeypatch.setattr(_tensorflow, "uses_one_dnn", lambda: one_dnn)
    model = keras.Sequential(
        [layers.Input((9, 9, 6)), layers.Conv2D(12, 3, **{"use_bias": False, **options}, groups=3)]
    )
    images = tf.constant(np.random.default_rng(0).normal(size=(2, 9, 9, 6)), tf.float32)

    def output_and_gradients():
        with tf.GradientTape() as tape:
            tape.watch(images)
            output = model(images)
            loss = tf.reduce_sum(output**2)
        weights = [variable.value for variable in model.trainable_variables]
        return [output, *tape.gradient(loss, [images, *weights])]

    expected = output_and_gradients()
    groups.convolve_without_xla(model)
    for found, wanted in zip(output_and_gradients(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"groups": 1}, {"groups": 2, "dilation_rate": 2}])
def test_other_convolutions_stay_as_they_are(options):
    layer = layers.Conv2D(4, 3, **options)
    model = keras.Sequential([layers.Input((9, 9, 4)), layer])
    groups.convolve_without_xla(model)
    assert layer.convolution_op.__func__ is layers.Conv2D.convolution_op


def test_no_step_is_compiled_and_the_file_is_keras_own(tmp_path):
    image = keras.Input((9, 9, 3))
    features = layers.Conv2D(8, 3, groups=4)(layers.Conv2D(8, 1)(image))
    embedding = layers.Dense(4)(layers.Flatten()(features))
    model = CompatibleModel(keras.Model(image, embedding), Softmax(classes=4), Independent())
    model.compile(optimizer="sgd")
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3)).astype(np.float32)
    batch = ({"image": tf.constant(images)}, tf.constant([0, 1]))
    step = tf.function(model.train_step, autograph=False).get_concrete_function(batch)
    for function in step.graph.as_graph_def().library.function:
        assert not function.attr["_XlaMustCompile"].b
    before = model.encoder(images)
    model.encoder.save(tmp_path / "new.keras")
    read: Any = keras.saving.load_model(tmp_path / "new.keras")
    np.testing.assert_allclose(read(images), before, rtol=1e-4, atol=1e-4)
