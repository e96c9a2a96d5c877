"""Trains backbone -> method -> head -> loss in Keras's own fit."""

import contextlib
from typing import Any

import keras
import tensorflow as tf

from bct_keras._keras import shown_loss
from bct_keras.backbones import groups
from bct_keras.errors import InputError
from bct_keras.heads.head import Head
from bct_keras.methods.method import Method, Training
from bct_keras.methods.old_source import OldSource
from bct_keras.models import arguments, fitting
from bct_keras.models.averaging import Averages
from bct_keras.models.step import Batch, Steps, added_by, replicas


@keras.saving.register_keras_serializable("bct_keras")
class CompatibleModel(fitting.AcrossWorkers):
    """Trains a backbone so that its embeddings can be searched in the gallery of an old encoder.

    loss = head(method.head_input(new, batch), labels) + method.penalty(new, labels, batch, head)

    averaged over the global batch, plus what layers add by themselves, such as the regularisers of
    their weights. A batch is ({"image": ..., and each field the method needs}, labels);
    `OldEmbeddings.with_images` makes such ones. The method also finds "step" in it, the number of
    micro-batches seen so far. Called with images, or with a batch, the model gives the embeddings
    of its backbone, which `encoder` is.

    Args:
        backbone: A model that gives embeddings [batch, dims] for images.
        head: Turns embeddings and labels into a loss for each example, as
            `bct_keras.heads.ArcFace(classes=1000)`.
        method: Keeps the new embeddings compatible with the old ones, as
            `bct_keras.methods.MixBCT()`.
        micro_batches: A batch goes through the network in so many pieces, whose gradients are
            added.
        average: How much of an average of the weights stays at a step, as 0.999; 0 keeps none.
            `averaged` puts it in the place of the weights.
        drop_not_finite: A step with a NaN or an infinite gradient changes nothing.
        name: The name of the model.
        dtype: The policy by which the optimizer scales the loss; by default the global one.

    >>> image = keras.Input((8, 8, 3))
    >>> backbone = keras.Model(image, keras.layers.Dense(4)(keras.layers.Flatten()(image)))
    >>> labels = np.arange(12) % 3
    >>> old = bct.OldEmbeddings(np.random.default_rng(0).normal(size=(12, 4)), labels)
    >>> images = tf.data.Dataset.from_tensor_slices((np.zeros((12, 8, 8, 3), np.float32), labels))
    >>> model = CompatibleModel(backbone, bct.heads.ArcFace(classes=3), bct.methods.MixBCT())
    >>> model.compile(optimizer="adamw", old=old)
    >>> history = model.fit(old.with_images(images).batch(6), epochs=2, verbose=0)
    >>> model.encoder.predict(np.zeros((2, 8, 8, 3)), verbose=0).shape
    (2, 4)
    """

    def __init__(
        self,
        backbone: keras.Model,
        head: Head,
        method: Method,
        *,
        micro_batches: int = 1,
        average: float = 0.0,
        drop_not_finite: bool = False,
        name: str = "compatible_model",
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.dims = arguments.embedding_dims(backbone)
        arguments.check_parts(head, method)
        self.backbone = backbone
        self.head = head
        self.method = method
        self.micro_batches = micro_batches
        self.average = average
        self.drop_not_finite = drop_not_finite
        self.watches_scores = False
        # All is built by hand, so that Keras does not try the loss on symbolic tensors.
        if not head.built:
            head.build((None, self.dims))
        if method.compatible_dims is not None and not method.built:
            method.build((None, self.dims))
        # Counts dropped steps too, as the optimizer does not: it is the position in the data.
        self.steps = self.counter("steps")
        self.dropped = self.counter("dropped_steps")
        groups.convolve_without_xla(backbone)
        self.averaging = Averages(self, backbone, average)
        self.taking_steps = Steps(self)
        self.built = True

    def counter(self, name: str):
        """Makes a whole number that counts from 0."""
        return self.add_weight(
            name=name,
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )

    @property
    def encoder(self) -> keras.Model:
        """The backbone, and what the method adds; its file needs nothing of this package."""
        return self.method.shipped(self.backbone)

    def call(self, inputs, training=False):
        images = inputs["image"] if isinstance(inputs, dict) else inputs
        return self.backbone(images, training=training)

    def compile(
        self,
        optimizer: Any = "adamw",
        old: OldSource | None = None,
        *,
        jit_compile: bool = False,
        metrics: list | None = None,
        weighted_metrics: list | None = None,
        **options: Any,
    ) -> None:
        """Makes the model ready for `fit`: prepares the method and builds the optimizer.

        Args:
            optimizer: Any of Keras, or a name. The names in `bct_keras.optimizers` (adamw, lamb,
                sgd, sgdw) are those of this package, which heads with `sample_rate` or `sharded`
                need; all others are Keras's.
            old: The old embeddings, unless the method needs none or the model was loaded from a
                file.
            jit_compile: Compiles the whole step by XLA, which seldom pays.
            metrics: What Keras takes. A metric is given the labels [batch], and the head's scores
                [batch, classes] without a margin, so "accuracy" is that of the head as a
                classifier.
            weighted_metrics: The same, by sample weights.
            **options: Others of Keras's `compile`; `loss` is not among them, for it is the head's
                and the method's.
        """
        if options.get("loss") is not None or options.get("loss_weights") is not None:
            raise InputError(
                "the loss of a CompatibleModel is its head's and its method's, so compile takes no"
                " `loss`"
            )
        with self.distribute_strategy.scope():
            self.prepare_method(old)
            super().compile(
                arguments.optimizer_of(optimizer),
                jit_compile=jit_compile,  # pyright: ignore[reportArgumentType]
                metrics=metrics,
                weighted_metrics=weighted_metrics,
                **options,
            )
            # Not the one given: in 16 bits another one stands around it, which scales the loss.
            self.optimizer.build(self.trainable_variables)
            self.head.add_slots(self.optimizer)
            self.watches_scores = bool(metrics or weighted_metrics)
            if self.watches_scores:
                self.build_metrics()

    def prepare_method(self, old: OldSource | None) -> None:
        """Lets the method look at the old embeddings, where there are some, and builds it."""
        method = self.method
        if old is not None:
            arguments.check_old(old, self.head, method, self.dims)
            method.prepare(old, Training(self.head.classes, old.dims))
        elif not method.built:
            if method.needs_old:
                raise InputError(
                    f"the method {type(method).__name__} needs the old embeddings:"
                    " compile(optimizer, old=OldEmbeddings(old_embeddings, labels))"
                )
            method.prepare(None, Training(self.head.classes, self.dims))
        if not method.built:
            method.build((None, self.dims))

    def build_metrics(self) -> None:
        """Makes the variables of metrics here: within a replica none can be made."""
        self.note_scores(Batch({}, tf.zeros((1,), tf.int32)), tf.zeros((1, self.dims)))
        self.reset_metrics()

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight=None, training=True
    ):
        """Returns this replica's share of the loss of `y_pred`, less what the backbone adds."""
        batch = {"step": tf.convert_to_tensor(self.steps), **self.fields_of(x)}
        new = tf.cast(y_pred, tf.float32)
        labels = tf.cast(y, tf.int32)
        of_table = {} if batch.get("class_rows") is None else {"rows": batch["class_rows"]}
        if self.head.by_length:
            of_table["swapped"] = self.method.swapped(new, batch)
        of_head, of_penalty = self.method.branches(new)
        loss = self.head(self.method.head_input(of_head, batch), labels, **of_table)
        loss += self.method.penalty(of_penalty, labels, batch, self.head)
        # A plain mean would count once a replica, and so would what layers add.
        added = (added_by(self.head) + added_by(self.method)) / replicas()
        return tf.nn.compute_average_loss(loss, sample_weight=sample_weight) + added

    def train_step(self, data):
        self.taking_steps.train(self.batch_of(data))
        return self.get_metrics_result()

    def test_step(self, data):
        self.taking_steps.test(self.batch_of(data))
        return self.get_metrics_result()

    def batch_of(self, data: Any) -> Batch:
        """Returns the parts of what `fit` reads."""
        x, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        if labels is None:
            raise InputError(
                "fit needs labels beside the images: (batch, labels), as OldEmbeddings.with_images"
                " gives"
            )
        return Batch(self.fields_of(x), labels, weights)

    def fields_of(self, x: Any) -> dict[str, Any]:
        """Returns the fields of a batch by name, where it may be images alone."""
        fields = x if isinstance(x, dict) else {"image": x}
        for name in ("image", *self.method.needs):
            if name not in fields:
                raise InputError(
                    f"a batch has no '{name}', and the method {type(self.method).__name__} needs"
                    " it: fit on old.with_images(images).batch(64), with"
                    " old=OldEmbeddings(old_embeddings, labels)"
                )
        return fields

    def note_loss(self, loss: Any, rows: Any) -> None:
        """Takes this replica's share of a loss into the mean that is shown, weighed by its rows."""
        shown_loss(self).update_state(loss * replicas(), sample_weight=rows)

    def note_scores(self, batch: Batch, new: Any) -> None:
        """Lets the metrics that were given to `compile` see the head's scores of embeddings."""
        if self.watches_scores:
            scores = self.head.scores(tf.cast(new, tf.float32))
            self.compute_metrics(
                batch.fields, tf.cast(batch.labels, tf.int32), scores, batch.weights
            )

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        **options: Any,
    ) -> Any:
        """Trains as `keras.Model.fit` does, on `old.with_images(images).batch(64)`."""
        fitting.check_filled(self.method)
        arguments.check_batches(x, self.method.compatible_dims)
        first_epoch = options.get("initial_epoch", 0)
        own = [fitting.Planning(self.method, first_epoch), *self.method.callbacks()]
        every = fitting.with_callbacks(callbacks, own, self)
        with fitting.plain_errors():
            return super().fit(
                x, y, batch_size, epochs, verbose=verbose, callbacks=every, **options
            )

    def evaluate(self, *args, **options):
        """Evaluates as `keras.Model.evaluate` does, and leaves queues and means as they were."""
        fitting.check_filled(self.method)
        with fitting.plain_errors():
            return super().evaluate(*args, **options)

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Puts the averaged weights into the backbone for a while, where an average is kept."""
        return self.averaging.in_place()

    def get_config(self):
        parts = {
            "backbone": self.backbone,
            "head": self.head,
            "method": self.method,
            "dtype": self.dtype_policy,
        }
        found: dict[str, Any] = {"name": self.name}
        for name in ("micro_batches", "average", "drop_not_finite"):
            found[name] = getattr(self, name)
        for name, part in parts.items():
            found[name] = keras.saving.serialize_keras_object(part)
        return found

    @classmethod
    def from_config(cls, config, custom_objects=None):
        made = dict(config)
        for part in ("backbone", "head", "method", "dtype"):
            made[part] = keras.saving.deserialize_keras_object(
                made[part], custom_objects=custom_objects
            )
        return cls(**made)

    def compile_from_config(self, config):
        found: Any = keras.saving.deserialize_keras_object(config)
        for name in ("loss", "loss_weights"):
            found.pop(name, None)
        self.compile(**found)
