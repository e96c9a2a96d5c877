"""Each private interface of TensorFlow still does what is needed of it; one test for each."""

import numpy as np
import pytest
import tensorflow as tf

from bct_keras import _tensorflow


class Numbers(_tensorflow.InCheckpoints):
    def __init__(self, values: list[float]):
        self.variable = tf.Variable(tf.constant(values))

    def to_checkpoint(self):
        return {"numbers": self.variable.read_value()}

    def from_checkpoint(self, values):
        self.variable.assign(values["numbers"])


def test_trackable_with_serialize_to_tensors_and_restore_from_tensors(tmp_path):
    path = str(tmp_path / "kept")
    tf.train.Checkpoint(tables=[Numbers([1.0, 2.0])]).write(path)
    (name,) = [name for name, _ in tf.train.list_variables(path) if "numbers" in name]
    np.testing.assert_array_equal(tf.train.load_checkpoint(path).get_tensor(name), [1.0, 2.0])
    other = Numbers([0.0, 0.0])
    tf.train.Checkpoint(tables=[other]).read(path).assert_consumed()
    np.testing.assert_array_equal(other.variable, [1.0, 2.0])


def test_resource_variable_is_on_one_device_and_no_strategy_copies_it(two_replicas):
    with two_replicas.scope():
        copied = tf.Variable(tf.constant([1.0]))
        alone = _tensorflow.variable_on_one_device(tf.constant([1.0]), "alone")
    assert len(two_replicas.experimental_local_results(copied)) == 2
    assert two_replicas.experimental_local_results(alone) == (alone,)
    assert isinstance(alone, tf.Variable)
    alone.assign_add([1.0])
    assert (alone.numpy(), alone.trainable) == ([2.0], False)


def test_strategy_supports_no_merge_call(two_replicas):
    # One replica updates by itself, and replicas of a MirroredStrategy have to meet for it.
    assert _tensorflow.updates_without_merging()
    with two_replicas.scope():
        assert not _tensorflow.updates_without_merging()


def test_is_mkl_enabled():
    # backbones/one_dnn_test.py shows that it goes by the environment, in processes of their own.
    assert isinstance(_tensorflow.uses_one_dnn(), bool)


def test_do_not_convert():
    # A condition on a tensor is an error where the source is not rewritten.
    def signs(number):
        return 1 if number > 0 else -1

    numbers = tf.data.Dataset.from_tensors(tf.constant(2))
    assert [int(each) for each in numbers.map(signs)] == [1]
    as_it_stands = _tensorflow.as_it_stands(lambda: numbers.map(signs))
    with pytest.raises(TypeError, match="Tensor"):
        as_it_stands()
