"""Tests that heads are configured, kept in files and made again, as Keras's layers are."""

import random
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras import specs
from bct_keras.errors import InputError
from bct_keras.heads import HEADS
from bct_keras.optimizers import OPTIMIZERS

# Every option away from its default, so that one which the config lacks would show.
SPECS = {
    "adaface": "adaface(0.3, 0.4, scale=30, momentum=0.9, gradient=straight_through, seed=5)",
    "arcface": "arcface(margin=0.3, scale=30, gradient=straight_through, filter_above=0.4, seed=5)",
    "combined": "combined(margins=(1.1, 0.2, 0.1), scale=30, label_smoothing=0.1, seed=5)",
    "cosface": "cosface(margin=0.3, scale=30, sample_rate=0.5, seed=5)",
    "magface": "magface((0.3, 0.7), (1, 9), pull=2, scale=30, sharded=true, seed=5)",
    "normface": "normface(scale=30, filter_above=0.4, label_smoothing=0.1, seed=5)",
    "simplex": "simplex(label_smoothing=0.1)",
    "softmax": "softmax(label_smoothing=0.1)",
    "subcenter_arcface": "subcenter_arcface(2, margin=0.3, scale=30, sample_rate=0.6, seed=5)",
}
KEPT_BY_KERAS = {"name", "trainable", "dtype"}
DIMS = 5  # the simplex of 6 classes needs as many
EMBEDDINGS = tf.constant(np.random.default_rng(0).normal(size=(3, DIMS)) * 5, tf.float32)
LABELS = tf.constant([0, 2, 5])


def made(name: str) -> Any:
    return specs.build(HEADS, SPECS[name], classes=6)


def again(head: Any) -> Any:
    return keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))


def losses(head: Any) -> np.ndarray:
    return head(EMBEDDINGS, LABELS).numpy()


class Classifier(keras.Model):
    """Holds a head, as a model of the user's own would."""

    def __init__(self, head, **options):
        super().__init__(**options)
        self.head = head

    def build(self, input_shape):
        self.head.build(input_shape)

    def build_from_config(self, config):
        self.built = True  # the head has been built from a config of its own

    def call(self, embeddings):
        return self.head(embeddings, tf.zeros(tf.shape(embeddings)[0], tf.int32))

    def get_config(self):
        return {"head": keras.saving.serialize_keras_object(self.head)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(keras.saving.deserialize_keras_object(config["head"]))


def in_a_model(head: Any) -> Classifier:
    model = Classifier(head)
    model.build((None, DIMS))
    return model


def test_every_head_is_looked_at():
    assert set(SPECS) == set(HEADS)


@pytest.mark.parametrize("name", HEADS)
def test_the_registered_name_has_the_package_and_no_module(name):
    assert keras.saving.get_registered_name(HEADS[name]) == f"bct_keras>{HEADS[name].__name__}"


@pytest.mark.parametrize("name", HEADS)
def test_the_config_has_every_argument(name):
    config = made(name).get_config()
    _, written = specs.bind(HEADS, SPECS[name], ("classes",))
    parameters = specs.settable(specs.parameters_of(HEADS[name], name), ())
    assert set(config) - KEPT_BY_KERAS == set(parameters)
    assert {key: config[key] for key in written} == written


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_is_not_built_is_made_again(name):
    head = made(name)
    other = again(head)
    assert type(other) is type(head)
    assert other.get_config() == head.get_config()
    assert not other.built


@pytest.mark.parametrize("name", HEADS)
def test_a_built_head_is_made_again_with_places_for_its_weights(name):
    head = made(name)
    head.build((None, DIMS))
    other = again(head)
    assert other.built
    assert {key: rows.shape for key, rows in other.stored().items()} == {
        key: rows.shape for key, rows in head.stored().items()
    }


@pytest.mark.parametrize("name", HEADS)
def test_a_head_in_a_keras_file_has_the_losses_it_had(name, tmp_path):
    head = made(name)
    model = in_a_model(head)
    losses(head)  # adaface's means move
    path = tmp_path / "model.keras"
    model.save(path)
    loaded: Any = keras.saving.load_model(path, custom_objects={"Classifier": Classifier})
    for key, rows in head.stored().items():
        np.testing.assert_array_equal(loaded.head.stored()[key], rows, err_msg=key)
    np.testing.assert_array_equal(losses(loaded.head), losses(head))


def test_what_the_optimizer_keeps_of_the_table_s_rows_is_in_the_file(tmp_path):
    head = made("cosface")
    model = in_a_model(head)
    optimizer = specs.build(OPTIMIZERS, "adamw", learning_rate=0.1)
    head.add_slots(optimizer)
    head.table.assign("velocity", np.full((6, DIMS), 2.0, np.float32))
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)

    trained_on = in_a_model(made("cosface"))
    trained_on.head.add_slots(optimizer)
    trained_on.load_weights(path)
    np.testing.assert_array_equal(trained_on.head.table.whole("velocity"), 2.0)
    np.testing.assert_array_equal(trained_on.head.table.whole("momentum"), 0.0)

    used = in_a_model(
        made("cosface")
    )  # without an optimizer there is no place for them, and none is needed
    used.load_weights(path)
    assert used.head.table.slots == []
    np.testing.assert_array_equal(
        used.head.stored()["class_weights"], head.stored()["class_weights"]
    )


def test_the_seed_is_drawn_once_and_kept():
    random.seed(1)
    head = specs.build(HEADS, "arcface(sample_rate=0.5)", classes=6)
    random.seed(1)
    assert head.seed == random.getrandbits(31)
    # Made again it draws nothing, so what is drawn after it stays the same.
    state = random.getstate()
    assert again(head).seed == head.seed
    assert random.getstate() == state


def test_a_given_seed_draws_the_same_classes():
    seen = []
    for _ in range(2):
        head: Any = made("cosface")
        head.build((None, DIMS))
        seen.append(head.rows(tf.constant([1]), 3).classes.numpy())
    np.testing.assert_array_equal(seen[0], seen[1])


def test_every_keras_optimizer_will_do_where_there_is_no_table():
    head = specs.build(HEADS, "arcface", classes=6)
    head.build((None, DIMS))
    for optimizer in (keras.optimizers.Adam(), keras.optimizers.get("rmsprop")):
        head.add_slots(optimizer)
        head.add_slots(keras.optimizers.LossScaleOptimizer(optimizer))
    assert head.table is None
    assert [weight.name for weight in head.weights] == ["class_weights"]


def test_another_optimizer_has_slots_of_its_own():
    head = made("cosface")
    head.build((None, DIMS))
    for name, slots in (("adamw", ["momentum", "velocity"]), ("sgd", ["momentum"])):
        head.add_slots(specs.build(OPTIMIZERS, name, learning_rate=0.1))
        assert head.table.slots == slots
        np.testing.assert_array_equal(head.table.whole("momentum"), 0.0)


@pytest.mark.parametrize("name", ["arcface", "subcenter_arcface", "softmax"])
def test_scores_are_logits_without_a_margin(name):
    with_margin = specs.build(HEADS, name, classes=6)
    without = specs.build(HEADS, name if name == "softmax" else f"{name}(margin=0)", classes=6)
    for head in (with_margin, without):
        head.build((None, DIMS))
    without.class_weights.assign(with_margin.class_weights)
    scores = with_margin.scores(EMBEDDINGS)
    # At margin 0 the own class's logit goes through sin and cos, and is known to 1e-6 of its scale
    # of 64.
    np.testing.assert_allclose(scores, without.logits(EMBEDDINGS, LABELS), rtol=1e-5, atol=1e-4)


def test_a_table_has_not_the_scores_of_all_classes():
    head = made("cosface")
    head.build((None, DIMS))
    with pytest.raises(InputError, match="metrics need the scores of all classes"):
        head.scores(EMBEDDINGS)
