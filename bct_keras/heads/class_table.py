"""Keeps class weights outside Keras.

Keras's optimizers would touch every row of them in each step.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf

from bct_keras._tensorflow import InCheckpoints
from bct_keras.distribution import replicas, workers
from bct_keras.errors import InputError


class ClassTable(InCheckpoints):
    """Holds class weights, and what the optimizer keeps of them, [classes, width].

    They are whole on each device, or divided over the devices. A checkpoint has them whole, so
    another number of devices can go on with it.
    """

    WEIGHTS = "class_weights"

    def __init__(self, start: tf.Tensor, divided: bool):
        shape: Any = start.shape
        classes, self.width = shape
        self.divided = divided
        self.devices = replicas.devices()
        if divided and workers.spans_workers(tf.distribute.get_strategy()):
            raise InputError(
                "sharded=true divides classes over the devices of one machine, not over several"
                " workers"
            )
        self.spans = [(0, classes)] * len(self.devices)  # of each device: first class, end
        if divided:
            self.spans = spans_of(classes, len(self.devices))
        self.variables: dict[str, list[tf.Variable]] = {}
        self.make(self.WEIGHTS, lambda first, end: start[first:end])

    def make(self, name: str, values: Callable[[int, int], tf.Tensor]) -> None:
        """Makes a variable on each device.

        Args:
            name: Of what it holds, such as class_weights.
            values: Gives the rows of the classes from the first to before the last.
        """
        made = []
        for index, device in enumerate(self.devices):
            first, end = self.spans[index]
            rows = values(first, end)
            variable = replicas.plain_variable(rows, device, f"{name}_{index}")
            made.append(variable)
        self.variables[name] = made

    def add_slots(self, names: Iterable[str]) -> None:
        """Makes what an optimizer keeps of each row, all zeros; what another one kept is gone."""

        def zeros(first: int, end: int) -> tf.Tensor:
            return tf.zeros((end - first, self.width))

        for name in self.slots:
            del self.variables[name]
        for name in names:
            self.make(name, zeros)

    @property
    def slots(self) -> list[str]:
        """Returns the names of what the optimizer keeps."""
        names = list(self.variables)
        names.remove(self.WEIGHTS)
        return names

    def span(self) -> tuple[int, int]:
        """Returns this replica's first class, and the first one behind its last."""
        return self.spans[self.index()]

    def here(self, name: str) -> tf.Variable:
        """Returns the variable of this replica."""
        return self.variables[name][self.index()]

    def index(self) -> int:
        """Returns which of the devices this replica is on."""
        return replicas.replica_index() % len(self.devices)

    def take(self, name: str, classes: tf.Tensor) -> tf.Tensor:
        """Returns the rows of classes that are this replica's, in rising order."""
        first, _ = self.span()
        variable = self.here(name)
        if self.are_all(classes):
            return tf.convert_to_tensor(variable)
        return tf.gather(variable, classes - first)

    def put(self, name: str, classes: tf.Tensor, rows: tf.Tensor) -> None:
        """Writes the rows of classes that are this replica's."""
        first, _ = self.span()
        variable = self.here(name)
        if self.are_all(classes):
            variable.assign(rows)
        else:
            some = tf.IndexedSlices(rows, classes - first)
            variable.scatter_update(some)

    def are_all(self, classes: tf.Tensor) -> bool:
        """Returns whether these are all of this replica's classes."""
        first, end = self.span()
        return classes.shape[0] == end - first

    def whole(self, name: str) -> tf.Tensor:
        """Returns the rows of all classes."""
        pieces = self.variables[name]
        if not self.divided:
            return pieces[0].read_value()
        values = [piece.read_value() for piece in pieces]
        return tf.concat(values, axis=0)

    def assign(self, name: str, values: Any) -> None:
        """Takes the rows of all classes."""
        for index, variable in enumerate(self.variables[name]):
            first, end = self.spans[index]
            variable.assign(values[first:end])

    def to_checkpoint(self) -> dict[str, tf.Tensor]:
        found = {}
        for name in self.variables:
            found[name] = self.whole(name)
        return found

    def from_checkpoint(self, values: Mapping[str, Any]) -> None:
        for name, rows in values.items():
            self.assign(name, rows)


def spans_of(classes: int, devices: int) -> list[tuple[int, int]]:
    """Divides the classes as evenly as can be: the first devices have one class more."""
    if devices > classes:
        raise InputError(
            f"sharded=true cannot divide {classes} classes over {devices} devices; train on "
            f"{classes} devices or fewer, or without it"
        )
    least, more = divmod(classes, devices)
    spans = []
    first = 0
    for device in range(devices):
        end = first + least
        if device < more:
            end += 1
        spans.append((first, end))
        first = end
    return spans
