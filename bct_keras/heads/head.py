"""Holds what every head shares: class weights, and a loss for each example."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from bct_keras.distribution import replicas
from bct_keras.errors import InputError
from bct_keras.heads.by_rows import RowOptimizer, without_loss_scale
from bct_keras.heads.class_table import ClassTable

REFUSAL = re.compile(r"(a label is outside|sample_rate leaves no room)[^\n]*")


class ClassRows(NamedTuple):
    """Holds the classes of a step that this replica sees, and their weights."""

    classes: tf.Tensor | None  # in rising order; None: all
    weights: tf.Tensor  # [classes, centres * dims]


class Swapped(NamedTuple):
    """Says which rows a method has put in the place of the new embeddings.

    Heads that go by length ask for it. Such a row may be an old embedding at length 1, which says
    nothing of the image. The length of the new embedding of the same image does: the margin goes by
    that one, without a gradient.
    """

    rows: tf.Tensor  # [batch] bool
    lengths: tf.Tensor  # [batch] of the new embeddings, of the rows that were swapped as well


class Head(keras.layers.Layer):
    """Turns embeddings and labels into a loss per example, in float32 whatever the precision.

    Its class weights are Keras's to train; or, where a step touches a part of them or each device
    has other ones, they stand in a `table`, and a step takes its `rows` from there and gives their
    gradient to `learn`.

    Args:
        classes: The number of classes; labels are 0 to classes - 1.
        label_smoothing: The share of the target that all classes have in equal parts.
        **layer: The options of `keras.layers.Layer`.
    """

    table: ClassTable | None = None
    dims = 0  # of the embeddings; known from `build` on
    centres = 1  # of each class
    # Whether the embeddings' lengths tell it something, as in adaface and magface
    by_length = False
    trainable_class_weights = True

    def __init__(self, classes: int, *, label_smoothing: float = 0.0, **layer: Any):
        super().__init__(**{"dtype": "float32", **layer})
        if not 0 <= label_smoothing < 1:
            raise InputError(
                f"label_smoothing={label_smoothing:g} of a head has to be at least 0 and below 1"
            )
        self.label_smoothing = label_smoothing
        self.classes = classes

    def get_config(self):
        own = {"classes": self.classes, "label_smoothing": self.label_smoothing}
        return {**super().get_config(), **own}

    def build(self, input_shape):
        """Makes the class weights, for embeddings of this shape."""
        self.dims = int(input_shape[-1])
        self.make_class_weights()

    def make_class_weights(self) -> None:
        """Makes the weights that Keras trains."""
        # Row c * centres + i is centre i of class c.
        shape = (self.classes * self.centres, self.dims)
        self.class_weights = self.add_weight(
            shape=shape,
            initializer=in_one_copy(self.initializer()),
            name="class_weights",
        )

    def initializer(self) -> keras.initializers.Initializer:
        """Returns what the class weights start from."""
        return keras.initializers.RandomNormal(stddev=0.01)

    def logits(self, embeddings: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns logits [batch, classes], with the margin, if any, on each row's own class."""
        raise NotImplementedError

    def scores(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Returns the logits [batch, classes] without a margin, for metrics: no class is known."""
        nobody = tf.fill(tf.shape(embeddings)[:1], -1)
        return self.logits(embeddings, nobody)

    def rows(self, labels: tf.Tensor, step: Any) -> ClassRows:
        """Returns the classes that a step with these labels sees."""
        return ClassRows(None, tf.convert_to_tensor(self.class_weights))

    def loss_of(
        self,
        embeddings: tf.Tensor,
        labels: tf.Tensor,
        rows: ClassRows,
        swapped: Swapped | None = None,
    ) -> tf.Tensor:
        """Returns the losses, [batch]."""
        logits = self.logits(embeddings, labels)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        if self.label_smoothing:
            # (1 - e) (log sum_j exp(z_j) - z_y) + e (log sum_j exp(z_j) - mean_j z_j)
            log_total = tf.reduce_logsumexp(logits, axis=1)
            of_all = log_total - tf.reduce_mean(logits, axis=1)
            loss = (1.0 - self.label_smoothing) * loss + self.label_smoothing * of_all
        return loss

    def call(self, embeddings, labels, rows=None, swapped=None):
        """Returns the losses, [batch].

        Args:
            embeddings: [batch, dims]
            labels: [batch], whole numbers from 0 to classes - 1
            rows: The classes that the step sees; by default those of its first step.
            swapped: The rows that are no embeddings of the encoder that is trained.
        """
        if tf.executing_eagerly():  # within a step the loss tells, which may be dropped
            check_finite(embeddings)
        with self.known(labels):
            seen = self.rows(labels, 0) if rows is None else rows
            return self.loss_of(embeddings, labels, seen, swapped)

    def known(self, labels: tf.Tensor):
        """Returns a scope within which a label that is no class is an error."""
        # On a GPU a label that is no class would be read as 0.
        is_known = (labels >= 0) & (labels < self.classes)
        said = f"a label is outside the head's {self.classes} classes, 0 to {self.classes - 1}"
        known = tf.debugging.assert_equal(tf.reduce_all(is_known), True, said)
        checks = [] if known is None else [known]
        return tf.control_dependencies(checks)

    def add_slots(self, optimizer: Any) -> None:
        """Makes what the optimizer shall keep of each row of the table, where a model is compiled.

        A head without a table needs none, and takes every optimizer.
        """
        if self.table is None:
            return
        inner = without_loss_scale(optimizer)
        if not isinstance(inner, RowOptimizer):
            name = type(inner).__name__.lower()
            raise InputError(
                f"the optimizer {name} cannot change some rows alone, which a head with "
                "sample_rate or sharded needs; sgd, sgdw and adamw of bct_keras.optimizers can"
            )
        self.table.add_slots(inner.row_slots)

    def learn(
        self,
        rows: ClassRows,
        gradient: tf.Tensor,
        optimizer: Any,
        finite: tf.Tensor | None = None,
    ) -> None:
        """Changes the table by the gradient of this replica's (scaled) loss.

        It has to be called before the optimizer's step. Where `finite` is there and false, nothing
        is changed.
        """
        table: Any = self.table
        inner: Any = without_loss_scale(optimizer)
        gradient /= optimizer.scale_loss(tf.constant(1.0))
        if not table.divided:
            gradient = replicas.sum_rows(gradient)

        def change() -> None:
            names = table.slots
            slots = [table.take(name, rows.classes) for name in names]
            weights, *changed = inner.new_rows(gradient, rows.weights, *slots)
            table.put(table.WEIGHTS, rows.classes, weights)
            for name, values in zip(names, changed, strict=True):
                table.put(name, rows.classes, values)

        if finite is None:
            change()
        else:
            tf.cond(finite, change, lambda: None)

    def save_own_variables(self, store):
        """Keeps the table in a Keras file too, whole, with what an optimizer keeps of its rows."""
        super().save_own_variables(store)
        if self.table is None:
            return
        for name, rows in self.table.to_checkpoint().items():
            store[name] = rows.numpy()

    def load_own_variables(self, store):
        """Takes the table back; slots that this model's optimizer does not have are passed over."""
        names = list(store.keys())
        # Keras keeps the variables that it knows of by their numbers.
        numbered = {name: store[name] for name in names if name.isdigit()}
        super().load_own_variables(numbered)
        if self.table is None:
            return
        for name in self.table.variables:
            if name in names:
                self.table.assign(name, store[name])

    def stored(self) -> dict[str, np.ndarray]:
        """Returns the weights by name, whole.

        `class_weights` [classes * centres, dims] is among them.
        """
        found = {}
        for weight in self.weights:
            found[weight.name] = np.asarray(weight.numpy())
        if self.table is not None:
            rows = self.table.whole(ClassTable.WEIGHTS).numpy()
            found[ClassTable.WEIGHTS] = rows.reshape(-1, self.dims)
        return found

    def save(self, path: Path) -> None:
        """Writes the weights to a file of their own, for the method of a later encoder."""
        np.savez(path, allow_pickle=False, **self.stored())


def in_one_copy(initializer: keras.initializers.Initializer) -> Callable[..., tf.Tensor]:
    """Returns an initializer that gives the same numbers in the memory of the weights alone.

    Op by op, three copies live at once, and what TensorFlow has taken once it keeps.
    """

    def start(shape: Any, dtype: Any = None) -> tf.Tensor:
        made: Any = tf.function(lambda: initializer(shape, dtype=dtype))
        return made()

    return start


def refusal(error: tf.errors.OpError) -> str | None:
    """Returns what a head says of bad input within a step, out of all that TensorFlow says."""
    found = REFUSAL.search(error.message or "")
    if found is None:
        return None
    text = found.group().replace("\\'", "'")
    said, _, _ = text.partition("] [Condition")
    return said.replace("] [", " ").rstrip("]")


def check_finite(embeddings: tf.Tensor) -> None:
    """Raises where an embedding is not a finite number."""
    finite = np.all(np.isfinite(tf.cast(embeddings, tf.float32)), axis=1)
    bad = np.flatnonzero(~finite)
    if len(bad):
        raise InputError(
            f"the embedding of row {bad[0]} of the batch is not a finite number, of {len(bad)}"
            " row(s) in all"
        )
