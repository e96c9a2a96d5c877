"""backbone -> method -> head -> loss, in Keras's own fit."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import tensorflow as tf

from bct_keras import _tensorflow, distribution
from bct_keras.heads.head import Head
from bct_keras.methods.method import Method


@dataclass(frozen=True)
class Stepping:
    """How a step is made: none of it changes what is being learned."""

    micro_batches: int = 1  # a batch goes through the network in so many pieces, their gradients added
    jit: bool = False  # the network, forward and backward, compiled by XLA
    average: float = 0.0  # how much of the weights' average stays at a step, once it has begun; 0 is no average
    drop_not_finite: bool = False  # a step with a NaN or an infinite gradient changes nothing


class CompatibleModel(keras.Model):
    """loss = head(method.head_input(new, batch), labels) + method.penalty(new, labels, batch, head)

    averaged over the global batch, plus what layers add by themselves, such as the regularisers of their weights.
    A batch is ({"image": ..., and each field the method needs}, labels); the method also finds "step" in it, the number
    of micro-batches seen so far.
    """

    def __init__(self, backbone: keras.Model, head: Head, method: Method, stepping: Stepping = Stepping()):
        super().__init__(name="compatible_model")
        self.backbone = backbone
        self.head = head
        self.method = method
        self.stepping = stepping
        # Built here, so that Keras does not try the loss on symbolic tensors first.
        for layer in (head, method):
            if not layer.built:
                layer.build(backbone.output_shape)
        # Counts dropped steps too, which the optimizer does not; so this is the position in the data.
        self.steps = self.counter("steps")
        self.dropped = self.counter("dropped_steps")
        self.averages = [self.average_of(weight) for weight in backbone.weights if self.is_averaged(weight)]
        self.built = True

    def counter(self, name: str):
        return self.add_weight(
            name=name,
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )

    def is_averaged(self, weight) -> bool:
        return self.stepping.average > 0 and weight.dtype.startswith("float")

    def average_of(self, weight):
        average = self.add_weight(
            name=f"average_{weight.name}",
            shape=weight.shape,
            dtype=weight.dtype,
            trainable=False,
            aggregation="only_first_replica",
        )
        average.assign(weight)
        return average

    def call(self, batch, training=False):
        return self.backbone(batch["image"], training=training)

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        batch = {"step": tf.convert_to_tensor(self.steps), **x}
        new = tf.cast(y_pred, tf.float32)
        labels = tf.cast(y, tf.int32)
        of_table = {} if batch.get("class_rows") is None else {"rows": batch["class_rows"]}
        if self.head.by_length:
            of_table["swapped"] = self.method.swapped(new, batch)
        loss = self.head(self.method.head_input(new, batch), labels, **of_table)
        loss += self.method.penalty(new, labels, batch, self.head)
        # A plain mean would count once for every replica, and so would what layers add.
        added = (added_by(self.head) + added_by(self.method)) / replicas()
        return tf.nn.compute_average_loss(loss) + added

    def train_step(self, data):
        batch, labels = data
        state = [tf.identity(variable) for variable in self.running_state()]
        class_rows = None if self.head.table is None else self.head.rows(tf.cast(labels, tf.int32), self.steps)
        gradients, loss = self.gradients(batch, labels, class_rows)
        finite = self.all_finite(gradients, loss) if self.stepping.drop_not_finite else True
        if class_rows is not None:
            gradients = self.learn_rows(class_rows, gradients, loss)
        if self.stepping.drop_not_finite:
            self.apply_if(finite, gradients)
            for variable, before in zip(self.running_state(), state, strict=True):
                variable.assign(tf.where(finite, tf.convert_to_tensor(variable), before))
            self.dropped.assign_add(1 - tf.cast(finite, tf.int64))
        else:
            self.apply(gradients)
        self.update_averages()
        self.steps.assign_add(1)
        rows = tf.cast(tf.shape(labels)[0], tf.float32)
        shown = tf.where(finite, loss, 0.0)
        self._loss_tracker.update_state(shown * replicas(), sample_weight=tf.where(finite, rows, 0.0))
        return self.get_metrics_result()

    def gradients(self, batch, labels, class_rows=None):
        """Of the loss averaged over this replica's micro-batches, and that loss."""
        learned = [*self.trainable_variables, *([] if class_rows is None else [class_rows.weights])]
        pieces = self.stepping.micro_batches
        gradients, total = None, tf.constant(0.0)
        for index in range(pieces):
            # One after the other, so that the activations of one piece are gone before the next one starts.
            with tf.control_dependencies([total] if gradients is None else [total, *gradients]):
                # Every n-th row, so that a piece is the same rows however many replicas there are.
                piece, piece_labels = tf.nest.map_structure(lambda rows, i=index: rows[i::pieces], (batch, labels))
            step = self.steps * pieces + index
            with tf.GradientTape() as tape:
                tape.watch([] if class_rows is None else class_rows.weights)
                new, added = self.embed(piece["image"])
                piece = {**piece, "step": step, "class_rows": class_rows}
                loss = self.compute_loss(piece, piece_labels, new)
                loss = (loss + added / replicas()) / pieces
                scaled = self.optimizer.scale_loss(loss)
            found = [dense(gradient) for gradient in tape.gradient(scaled, learned)]
            gradients = (
                found if gradients is None else [tf.add_n([a, b]) for a, b in zip(gradients, found, strict=True)]
            )
            total += loss
        return gradients, total

    def embed(self, images):
        """The new embeddings, and what the backbone's own layers add to the loss of these images."""

        def forward(given):
            new = self.backbone(given, training=True)
            return new, added_by(self.backbone)

        if not self.stepping.jit:
            return forward(images)
        # Made within the step, so that each replica traces one of its own variables; the gradient of a compiled
        # function is compiled too. The head stays outside: replicas talk to each other in methods and heads.
        return tf.function(forward, jit_compile=True)(images)

    def learn_rows(self, class_rows, gradients, loss):
        """Changes the head's table, which is not the optimizer's, and returns the gradients that are left for that.

        Where one of all these gradients is not finite, neither changes anything.
        """
        *others, of_rows = gradients
        finite = None
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer) or self.stepping.drop_not_finite:
            finite = self.finite_everywhere([loss, *gradients])
            others = [None if gradient is None else tf.where(finite, gradient, math.nan) for gradient in others]
        self.head.learn(class_rows, of_rows, self.optimizer, finite)
        return others

    def apply(self, gradients):
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))

    def apply_if(self, finite, gradients):
        """A condition around an update has to stand outside the replicas where those have to meet for it."""
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

        tf.distribute.get_replica_context().merge_call(in_all, args=(finite, gradients))

    def all_finite(self, gradients, loss):
        """Whether every replica's are; gradients that overflow 16 bits are for the loss's scale to mend."""
        values = [loss]
        if not isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            values += gradients
        return self.finite_everywhere(values)

    def finite_everywhere(self, values):
        known = [tf.convert_to_tensor(value) for value in values if value is not None]
        bad = tf.add_n([tf.cast(~tf.reduce_all(tf.math.is_finite(value)), tf.float32) for value in known])
        return tf.distribute.get_replica_context().all_reduce("SUM", bad) == 0

    def running_state(self) -> list:
        """What a forward pass changes: running means, and a queue with the labels and the place that go with it.

        Not the seeds of the backbone's dropout: the next step draws anew.
        """
        if not self.stepping.drop_not_finite:
            return []
        means = [weight for weight in self.backbone.non_trainable_variables if weight.dtype.startswith("float")]
        return [*means, *self.head.non_trainable_variables, *self.method.non_trainable_variables]

    def update_averages(self):
        """average <- share average + (1 - share) weights,  share = min(the one asked for, (1 + t) / (10 + t))

        After t steps the average is over about the last ninth of them, until that is as long as what was asked for: so
        the first weights, which are random, are soon gone. With 0.999 from the start they would be 36 % of the average
        after 1,025 steps; so they are 1e-21 of it.
        """
        done = tf.cast(self.steps, tf.float32)
        share = tf.minimum(self.stepping.average, (1.0 + done) / (10.0 + done))
        for weight, average in zip(filter(self.is_averaged, self.backbone.weights), self.averages, strict=True):
            average.assign(share * average + (1 - share) * weight)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """The backbone with its averaged weights, where they are kept."""
        weights = list(filter(self.is_averaged, self.backbone.weights))
        kept = [weight.numpy() for weight in weights]
        for weight, average in zip(weights, self.averages, strict=True):
            weight.assign(average.numpy())
        try:
            yield
        finally:
            for weight, value in zip(weights, kept, strict=True):
                weight.assign(value)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing: all is built, and Keras's own cannot take the batches of several workers apart."""

    def make_train_function(self, force=False):
        """Keras reduces a step's results in a way that fails over several workers; they are equal on each."""
        if not distribution.spans_workers(self.distribute_strategy):
            super().make_train_function(force)
        elif self.train_function is None or force:

            @tf.function
            def train_function(iterator):
                logs = self.distribute_strategy.run(self.train_step, args=(next(iterator),))
                return tf.nest.map_structure(lambda value: self.distribute_strategy.reduce("MEAN", value, None), logs)

            self.train_function = train_function


def replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync


def added_by(layer: keras.layers.Layer) -> tf.Tensor:
    """The sum of what a layer and those within it add to the loss: regularisers, and their own `add_loss`."""
    return tf.add_n([tf.constant(0.0), *(tf.reduce_sum(tf.cast(loss, tf.float32)) for loss in layer.losses)])


def dense(gradient):
    """The gradient of gathered rows is a list of rows, in which one may stand twice; optimizers want it whole.

    AdamW takes such a row for one of several, and Lamb cannot take it at all. The rows of a head's table do not come
    here: it changes those that a step has seen, and no others.
    """
    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient
