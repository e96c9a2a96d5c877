"""TensorFlow's private interfaces, each behind a short function of its own.

TensorFlow may change them in any version. `tests/_tensorflow_test.py` has a test named after each,
so that an update that breaks one says which.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import tensorflow as tf
from tensorflow.python.ops.resource_variable_ops import ResourceVariable

Function = TypeVar("Function", bound=Callable[..., Any])


class InCheckpoints(tf.__internal__.tracking.Trackable):
    """An object that says itself what a checkpoint holds of it.

    A subclass overrides `to_checkpoint` and `from_checkpoint`. TensorFlow has no public class for
    that: the private methods are `_serialize_to_tensors` and `_restore_from_tensors`.
    """

    def to_checkpoint(self) -> dict[str, tf.Tensor]:
        """Returns the tensors to be saved, by name."""
        raise NotImplementedError

    def from_checkpoint(self, values: Mapping[str, tf.Tensor]) -> None:
        """Takes the values back that `to_checkpoint` gave."""
        raise NotImplementedError

    def _serialize_to_tensors(self):
        return self.to_checkpoint()

    def _restore_from_tensors(self, restored_tensors):
        self.from_checkpoint(restored_tensors)
        return tf.no_op()


def as_it_stands(function: Function) -> Function:
    """Lets TensorFlow trace this function, and what it hands to data sets, without rewriting it.

    To rewrite the source of a function for conditions and loops over tensors takes a tenth of a
    second each; ours call `tf.cond`, `tf.map_fn` and the like themselves. The public decorator
    forgets the types.
    """
    unchanged: Any = tf.autograph.experimental.do_not_convert(function)
    return unchanged


def variable_on_one_device(value: tf.Tensor, name: str) -> tf.Variable:
    """Makes a variable that no strategy copies to other devices, as it does with `tf.Variable`."""
    made: Any = ResourceVariable(value, trainable=False, name=name)
    return made


def updates_without_merging() -> bool:
    """Tells whether each replica may change variables by itself.

    Then a condition can stand around an update.
    """
    return tf.__internal__.distribute.strategy_supports_no_merge_call()


def uses_one_dnn() -> bool:
    """Tells whether TensorFlow computes with oneDNN in this process.

    No public function knows both the environment variable and what this processor has.
    """
    from tensorflow.python.util import _pywrap_util_port  # pyright: ignore[reportAttributeAccessIssue]

    return bool(_pywrap_util_port.IsMklEnabled())
