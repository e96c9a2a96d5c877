"""Class weights outside Keras, whose optimizers would touch every row of them in each step."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf

from bct_keras import distribution
from bct_keras._tensorflow import InCheckpoints
from bct_keras.errors import InputError


class ClassTable(InCheckpoints):
    """Holds class weights, and what the optimizer keeps of them: [classes, width] whole on each device, or divided.

    A checkpoint has them whole, so another number of devices can go on with it.
    """

    WEIGHTS = "class_weights"

    def __init__(self, start: tf.Tensor, divided: bool):
        classes, self.width = (int(size or 0) for size in start.shape)
        devices = distribution.devices()
        if divided and distribution.spans_workers(tf.distribute.get_strategy()):
            raise InputError("sharded=true divides classes over the devices of one machine, not over several workers")
        self.spans = spans_of(classes, len(devices)) if divided else [(0, classes)] * len(devices)
        self.divided = divided
        self.devices = devices
        self.variables: dict[str, list[tf.Variable]] = {}
        self.make(self.WEIGHTS, lambda first, end: start[first:end])

    def make(self, name: str, values: Callable[[int, int], tf.Tensor]) -> None:
        """Makes a variable on each device; `values` gives those of the classes from the first to before the last."""
        made = []
        for index, (span, device) in enumerate(zip(self.spans, self.devices, strict=True)):
            variable = distribution.plain_variable(values(*span), device, f"{name}_{index}")
            made.append(variable)
        self.variables[name] = made

    def add_slots(self, names: Iterable[str]) -> None:
        """Makes what an optimizer keeps of each row, all zeros; what another one has kept is gone."""
        for name in self.slots:
            del self.variables[name]
        for name in names:
            self.make(name, lambda first, end: tf.zeros((end - first, self.width)))

    @property
    def slots(self) -> list[str]:
        return [name for name in self.variables if name != self.WEIGHTS]

    def span(self) -> tuple[int, int]:
        """Returns this replica's first class, and the first one behind its last."""
        return self.spans[self.index()]

    def here(self, name: str) -> tf.Variable:
        """Returns the variable of this replica."""
        return self.variables[name][self.index()]

    def index(self) -> int:
        return distribution.replica_index() % len(self.devices)

    def take(self, name: str, classes: tf.Tensor) -> tf.Tensor:
        """Returns the rows of classes that are this replica's, in rising order."""
        first, end = self.span()
        variable = self.here(name)
        if classes.shape[0] == end - first:
            return tf.convert_to_tensor(variable)
        return tf.gather(variable, classes - first)

    def put(self, name: str, classes: tf.Tensor, rows: tf.Tensor) -> None:
        """Writes the rows of classes that are this replica's."""
        first, end = self.span()
        if classes.shape[0] == end - first:
            self.here(name).assign(rows)
        else:
            self.here(name).scatter_update(tf.IndexedSlices(rows, classes - first))

    def whole(self, name: str) -> tf.Tensor:
        """Returns the rows of all classes."""
        pieces = self.variables[name]
        if not self.divided:
            return pieces[0].read_value()
        return tf.concat([piece.read_value() for piece in pieces], axis=0)

    def assign(self, name: str, values: Any) -> None:
        """Takes the rows of all classes."""
        for variable, (first, end) in zip(self.variables[name], self.spans, strict=True):
            variable.assign(values[first:end])

    def to_checkpoint(self) -> dict[str, tf.Tensor]:
        return {name: self.whole(name) for name in self.variables}

    def from_checkpoint(self, values: Mapping[str, Any]) -> None:
        for name, rows in values.items():
            self.assign(name, rows)


def spans_of(classes: int, devices: int) -> list[tuple[int, int]]:
    """Divides the classes as evenly as can be: the first devices have one class more."""
    if devices > classes:
        raise InputError(
            f"sharded=true cannot divide {classes} classes over {devices} devices; train on {classes} devices or "
            "fewer, or without it"
        )
    least, more = divmod(classes, devices)
    starts = [device * least + min(device, more) for device in range(devices + 1)]
    return list(itertools.pairwise(starts))
