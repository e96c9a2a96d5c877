"""Trains an adapter on pairs until those that are held out gain no more."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from bct_keras.adapters.adapter import Adapter
from bct_keras.adapters.pairs import Division, Pairs
from bct_keras.errors import InputError
from bct_keras.methods.gallerycontrast import Labelled, gallery_contrast

LOSSES = ("gallerycontrast", "cosine")
HELD_OUT_ROWS = 2048  # at most, which the loss is measured on


@dataclass(frozen=True)
class Descent:
    """How an adapter is trained.

    Attributes:
        loss: "gallerycontrast", the search itself in a gallery of target embeddings, or "cosine",
            1 - <y, target>. None: the second, and with labels the first too, which is taken where
            held-out pairs are found clearly better by it.
        steps: The steps at most.
        batch_size: The pairs of a step.
        gallery: The target embeddings that a step searches, drawn anew for each.
        learning_rate: That of the first step; it goes to 0 by a cosine.
        weight_decay: That of AdamW.
        temperature: That of the search.
        own: How much the item's own target embedding counts, against those of its class. Without
            labels it alone does.
        look_every: The steps between two looks at the held-out pairs.
        patience: How many looks without a gain end it.
        seed: What the batches go by.
    """

    loss: str | None = None
    steps: int = 1500
    batch_size: int = 256
    gallery: int = 4096
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    temperature: float = 0.1
    own: float = 0.3
    look_every: int = 50
    patience: int = 6
    seed: int = 0

    def __post_init__(self):
        if self.loss is not None and self.loss not in LOSSES:
            raise InputError(f"loss={self.loss} is none: {' or '.join(LOSSES)}")
        for name in ("steps", "batch_size", "gallery", "look_every", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} has to be at least 1")
        for name in ("learning_rate", "temperature"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}={getattr(self, name):g} has to be above 0")
        if not 0 <= self.own <= 1:
            raise InputError(f"own={self.own:g} has to be between 0 and 1")


def train(adapter: Adapter, division: Division, plan: Descent) -> tuple[float, ...]:
    """Trains an adapter, and leaves it as it was when the held-out pairs cost least.

    Returns:
        What they cost at each look; the first one is that of the start.
    """
    random = np.random.default_rng(plan.seed)
    loss = chosen_loss(plan, division.fitted.labelled)
    step = compiled_step(adapter, Rows(division.fitted), plan, loss)
    look = compiled_look(adapter, division, plan.gallery, loss)
    losses = [float(look())]
    best, waited = adapter.get_weights(), 0
    count = len(division.fitted)
    gallery = min(plan.gallery, count)
    for number in range(plan.steps):
        batch = random.choice(count, plan.batch_size, replace=count < plan.batch_size)
        drawn = random.choice(count, gallery, replace=False)
        step(tf.constant(batch, tf.int32), tf.constant(drawn, tf.int32))
        if (number + 1) % plan.look_every and number + 1 < plan.steps:
            continue
        loss = float(look())
        waited = waited + 1
        if loss < min(losses):
            best, waited = adapter.get_weights(), 0
        losses.append(loss)
        if waited >= plan.patience:
            break
    adapter.set_weights(best)
    return tuple(losses)


class Rows:
    """Pairs as tensors."""

    def __init__(self, pairs: Pairs):
        self.source = tf.constant(pairs.source, tf.float32)
        self.target = tf.constant(pairs.target, tf.float32)
        self.labels = tf.constant(pairs.labels, tf.int32)

    def chosen(self, rows: tf.Tensor) -> "Batch":
        """Returns the pairs of these rows."""
        return Batch(
            tf.gather(self.source, rows), tf.gather(self.target, rows), tf.gather(self.labels, rows)
        )


class Batch(NamedTuple):
    """Some pairs as tensors; of a gallery only the targets count."""

    source: tf.Tensor  # [rows, source dims]
    target: tf.Tensor  # [rows, target dims]
    labels: tf.Tensor  # [rows]


Loss = Callable[[tf.Tensor, Batch, Batch], tf.Tensor]  # what the adapter found, pairs, gallery


def chosen_loss(plan: Descent, labelled: bool) -> Loss:
    """Returns the function of the loss, which gives one number for each pair [rows]."""
    own = plan.own if labelled else 1.0

    def search(found: tf.Tensor, pairs: Batch, gallery: Batch) -> tf.Tensor:
        return gallery_contrast(
            Labelled(found, pairs.labels),
            pairs.target,
            Labelled(gallery.target, gallery.labels),
            temperature=plan.temperature,
            own=own,
        )

    return search if plan.loss == "gallerycontrast" else cosine


def cosine(found: tf.Tensor, pairs: Batch, gallery: Batch) -> tf.Tensor:
    """Returns 1 - <y, target> for each pair [rows]."""
    cosines = tf.reduce_sum(found * pairs.target, axis=1)
    return 1.0 - cosines


def compiled_step(adapter: Adapter, rows: Rows, plan: Descent, loss: Loss) -> Callable:
    """Returns a function of the rows of a batch and of a gallery that takes one step."""
    rate: Any = keras.optimizers.schedules.CosineDecay(plan.learning_rate, plan.steps)
    optimizer: Any = keras.optimizers.AdamW(rate, weight_decay=plan.weight_decay)
    variables = adapter.trainable_variables
    optimizer.build(variables)

    @tf.function
    def step(batch: tf.Tensor, drawn: tf.Tensor) -> None:
        pairs = rows.chosen(batch)
        gallery = rows.chosen(drawn)
        with tf.GradientTape() as tape:
            found = adapter(pairs.source)
            losses = loss(found, pairs, gallery)
            mean = tf.reduce_mean(losses)
        values = [variable.value for variable in variables]
        gradients = tape.gradient(mean, values)
        optimizer.apply(gradients, variables)

    return step


def compiled_look(adapter: Adapter, division: Division, gallery_rows: int, loss: Loss) -> Callable:
    """Returns a function that gives the mean loss of the held-out pairs.

    They search among themselves and pairs that are fitted on, as few held-out ones would be too
    easy to tell apart.
    """
    held_count = min(HELD_OUT_ROWS, len(division.held_out))
    held = Rows(division.held_out).chosen(tf.range(held_count))
    other_count = min(gallery_rows, len(division.fitted))
    others = Rows(division.fitted).chosen(tf.range(other_count))
    gallery = Batch(
        source=others.source,  # not looked at
        target=tf.concat([held.target, others.target], axis=0),
        labels=tf.concat([held.labels, others.labels], axis=0),
    )

    @tf.function
    def look() -> tf.Tensor:
        found = adapter(held.source)
        losses = loss(found, held, gallery)
        return tf.reduce_mean(losses)

    return look
