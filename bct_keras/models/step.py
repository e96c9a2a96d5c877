"""Takes the steps on a batch: forward, loss, gradients and update; in a test forward and loss."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from bct_keras import _tensorflow
from bct_keras.heads.head import ClassRows

Tensors = list[Any]


@dataclass(frozen=True)
class Batch:
    """Holds a batch as `fit` gives it, or a piece of it."""

    fields: dict[str, Any]  # "image", and what the method needs; [batch, ...] each
    labels: Any  # [batch]
    weights: Any = None  # [batch] of the examples, or None

    def piece(self, index: int, pieces: int) -> "Batch":
        """Returns every n-th row, so a piece is the same rows whatever the number of replicas."""

        def rows_of(values: Any) -> Any:
            return values[index::pieces]

        weights = None if self.weights is None else rows_of(self.weights)
        return Batch(tf.nest.map_structure(rows_of, self.fields), rows_of(self.labels), weights)


class Steps:
    """Takes the steps of a CompatibleModel, for one replica."""

    def __init__(self, model: Any):
        self.model = model

    def train(self, batch: Batch) -> None:
        """Changes the weights by the gradient of the batch's loss, and takes note of that."""
        model = self.model
        before = [tf.identity(variable) for variable in self.running_state()]
        class_rows = None
        if model.head.table is not None:
            class_rows = model.head.rows(tf.cast(batch.labels, tf.int32), model.steps)
        gradients, loss = self.gradients(batch, class_rows)
        finite: Any = self.all_finite(gradients, loss) if model.drop_not_finite else True
        if class_rows is not None:
            gradients = self.learn_rows(class_rows, gradients, loss)
        if model.drop_not_finite:
            self.apply_if(finite, gradients)
            for variable, value in zip(self.running_state(), before, strict=True):
                variable.assign(tf.where(finite, tf.convert_to_tensor(variable), value))
            model.dropped.assign_add(1 - tf.cast(finite, tf.int64))
        else:
            self.apply(gradients)
        model.averaging.update(model.steps)
        model.steps.assign_add(1)
        rows = tf.cast(tf.shape(batch.labels)[0], tf.float32)
        model.note_loss(tf.where(finite, loss, 0.0), tf.where(finite, rows, 0.0))

    def test(self, batch: Batch) -> None:
        """Takes note of the batch's loss, and leaves every variable as it was.

        A queue, running means and the like are put back: methods and heads need not know that it is
        a test.
        """
        model = self.model
        state = [*model.head.non_trainable_variables, *model.method.non_trainable_variables]
        before = [tf.identity(variable) for variable in state]
        new = model.backbone(batch.fields["image"], training=False)
        fields = {**batch.fields, "step": model.steps * model.micro_batches}
        loss = model.compute_loss(fields, batch.labels, new, batch.weights, training=False)
        loss += added_by(model.backbone) / replicas()
        with tf.control_dependencies([loss]):
            for variable, value in zip(state, before, strict=True):
                variable.assign(tf.identity(value))
        rows = tf.cast(tf.shape(batch.labels)[0], tf.float32)
        model.note_loss(loss, rows)
        model.note_scores(batch, new)

    def gradients(self, batch: Batch, class_rows: ClassRows | None) -> tuple[Tensors, Any]:
        """Returns the gradients of the loss, a mean over the micro-batches, and the loss."""
        model = self.model
        learned = list(model.trainable_variables)
        if class_rows is not None:
            learned.append(class_rows.weights)
        pieces = model.micro_batches
        if pieces > 1:
            check_divisible(batch, pieces)
        gradients: Tensors | None = None
        total = tf.constant(0.0)
        for index in range(pieces):
            # One after the other, so that the activations of one piece are gone before the next one
            # starts.
            with tf.control_dependencies([total] if gradients is None else [total, *gradients]):
                piece = batch.piece(index, pieces)
            step = model.steps * pieces + index
            with tf.GradientTape() as tape:
                tape.watch([] if class_rows is None else class_rows.weights)
                new, added = self.embed(piece.fields["image"])
                fields = {**piece.fields, "step": step, "class_rows": class_rows}
                loss = model.compute_loss(fields, piece.labels, new, piece.weights)
                loss = (loss + added / replicas()) / pieces
                scaled = model.optimizer.scale_loss(loss)
            found = [dense(gradient) for gradient in tape.gradient(scaled, learned)]
            gradients = found if gradients is None else summed(gradients, found)
            total += loss
            model.note_scores(piece, new)
        assert gradients is not None
        return gradients, total

    def embed(self, images: Any) -> tuple[Any, Any]:
        """Returns the new embeddings, and what the backbone's own layers add to their loss."""
        backbone = self.model.backbone
        new = backbone(images, training=True)
        return new, added_by(backbone)

    def learn_rows(self, class_rows: ClassRows, gradients: Tensors, loss: Any) -> Tensors:
        """Changes the head's table, and returns the gradients that are left for the optimizer.

        Where one of all these gradients is not finite, neither changes anything.
        """
        optimizer = self.model.optimizer
        *others, of_rows = gradients
        finite = None
        if scales_loss(optimizer) or self.model.drop_not_finite:
            finite = self.finite_everywhere([loss, *gradients])
            others = [
                None if gradient is None else tf.where(finite, gradient, math.nan)
                for gradient in others
            ]
        self.model.head.learn(class_rows, of_rows, optimizer, finite)
        return others

    def apply(self, gradients: Tensors) -> None:
        """Lets the optimizer take its step."""
        pairs = zip(gradients, self.model.trainable_variables, strict=True)
        self.model.optimizer.apply_gradients(pairs)

    def apply_if(self, finite: Any, gradients: Tensors) -> None:
        """Lets the optimizer take its step where `finite` is true.

        A condition around an update has to stand outside the replicas where those have to meet for
        it.
        """
        if _tensorflow.updates_without_merging():
            tf.cond(finite, lambda: self.apply(gradients), lambda: None)
            return

        def in_all(strategy, finite, gradients):
            first = strategy.experimental_local_results(finite)[0]
            tf.cond(
                first,
                lambda: strategy.extended.call_for_each_replica(self.apply, args=(gradients,)),
                lambda: None,
            )

        replica: Any = tf.distribute.get_replica_context()
        replica.merge_call(in_all, args=(finite, gradients))

    def all_finite(self, gradients: Tensors, loss: Any) -> Any:
        """Returns whether every replica's loss and gradients are finite numbers.

        An optimizer that scales the loss looks at the gradients itself.
        """
        values = [loss]
        if not scales_loss(self.model.optimizer):
            values += gradients
        return self.finite_everywhere(values)

    def finite_everywhere(self, values: Tensors) -> Any:
        """Returns whether all values of all replicas are finite numbers."""
        bad = []
        for value in values:
            if value is not None:
                finite = tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(value)))
                bad.append(tf.cast(~finite, tf.float32))
        replica: Any = tf.distribute.get_replica_context()
        return replica.all_reduce("SUM", tf.add_n(bad)) == 0

    def running_state(self) -> list[Any]:
        """Returns what a forward pass changes and a dropped step has to put back.

        Running means, and a queue with the labels and the place that go with it. Not the seeds of
        the backbone's dropout: the next step draws anew.
        """
        model = self.model
        if not model.drop_not_finite:
            return []
        of_backbone = model.backbone.non_trainable_variables
        means = [weight for weight in of_backbone if weight.dtype.startswith("float")]
        return [*means, *model.head.non_trainable_variables, *model.method.non_trainable_variables]


def check_divisible(batch: Batch, pieces: int) -> None:
    """Raises where a batch has fewer rows than it is to be cut in."""
    said = (
        f"micro_batches={pieces} needs batches of as many images at least: batch(...,"
        " drop_remainder=True)"
    )
    tf.debugging.assert_greater_equal(tf.shape(batch.labels)[0], pieces, message=said)


def replicas() -> int:
    """Returns how many replicas train together."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def scales_loss(optimizer: Any) -> bool:
    """Returns whether the optimizer takes a scale off the gradient, as it does in mixed_float16."""
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)


def added_by(layer: keras.layers.Layer) -> Any:
    """Returns what a layer and those within it add to the loss: regularisers, and `add_loss`."""
    added = [tf.reduce_sum(tf.cast(loss, tf.float32)) for loss in layer.losses]
    return tf.add_n([tf.constant(0.0), *added])


def summed(first: Tensors, second: Tensors) -> Tensors:
    """Returns the sums of two lists of gradients; None where a variable has none."""
    found = []
    for one, other in zip(first, second, strict=True):
        found.append(one if other is None else tf.add_n([one, other]))
    return found


def dense(gradient: Any) -> Any:
    """Returns the gradient of gathered rows as a whole.

    Such a gradient is a list of rows, in which one may stand twice. AdamW takes such a row for one
    of several, and Lamb cannot take it at all. The rows of a head's table do not come here: it
    changes those that a step has seen, and no others.
    """
    if isinstance(gradient, tf.IndexedSlices):
        return tf.convert_to_tensor(gradient)
    return gradient
