"""Trains an adapter on pairs until those that are held out gain no more."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bct_keras.adapters.adapter import Adapter
from bct_keras.adapters.pairs import Division, Pairs
from bct_keras.errors import InputError
from bct_keras.methods.gallerycontrast import gallery_contrast

LOSSES = ("gallerycontrast", "cosine")
HELD_OUT_ROWS = 2048  # at most, which the loss is measured on


@dataclass(frozen=True)
class Descent:
    """How an adapter is trained.

    Attributes:
        loss: "gallerycontrast", the search itself in a gallery of target embeddings, or "cosine",
            1 - <y, target>.
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

    loss: str = "gallerycontrast"
    steps: int = 1500
    batch_size: int = 256
    gallery: int = 4096
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    temperature: float = 0.1
    own: float = 0.4
    look_every: int = 50
    patience: int = 6
    seed: int = 0

    def __post_init__(self):
        if self.loss not in LOSSES:
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
    own = plan.own if division.fitted.labelled else 1.0
    step = compiled_step(adapter, Rows(division.fitted), plan, own)
    look = compiled_look(adapter, division, plan, own)
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


def compiled_step(adapter: Adapter, rows: Rows, plan: Descent, own: float) -> Callable:
    """Returns a function of the rows of a batch and of a gallery that takes one step."""
    optimizer: Any = keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(plan.learning_rate, plan.steps),
        weight_decay=plan.weight_decay,
    )
    optimizer.build(adapter.trainable_variables)

    @tf.function
    def step(batch, drawn):
        source = tf.gather(rows.source, batch)
        target = tf.gather(rows.target, batch)
        labels = tf.gather(rows.labels, batch)
        gallery = tf.gather(rows.target, drawn)
        gallery_labels = tf.gather(rows.labels, drawn)
        with tf.GradientTape() as tape:
            found = adapter(source)
            if plan.loss == "cosine":
                loss = 1.0 - tf.reduce_sum(found * target, axis=1)
            else:
                loss = gallery_contrast(
                    found,
                    target,
                    labels,
                    gallery=gallery,
                    gallery_labels=gallery_labels,
                    temperature=plan.temperature,
                    own=own,
                )
            mean = tf.reduce_mean(loss)
        variables = adapter.trainable_variables
        gradients = tape.gradient(mean, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)

    return step


def compiled_look(adapter: Adapter, division: Division, plan: Descent, own: float) -> Callable:
    """Returns a function that gives the loss of the held-out pairs."""
    held = division.held_out.rows(np.arange(min(HELD_OUT_ROWS, len(division.held_out))))
    rows = Rows(held)
    others = Rows(division.fitted.rows(np.arange(min(plan.gallery, len(division.fitted)))))

    @tf.function
    def look():
        found = adapter(rows.source)
        if plan.loss == "cosine":
            return tf.reduce_mean(1.0 - tf.reduce_sum(found * rows.target, axis=1))
        loss = gallery_contrast(
            found,
            rows.target,
            rows.labels,
            gallery=tf.concat([rows.target, others.target], axis=0),
            gallery_labels=tf.concat([rows.labels, others.labels], axis=0),
            temperature=plan.temperature,
            own=own,
        )
        return tf.reduce_mean(loss)

    return look
