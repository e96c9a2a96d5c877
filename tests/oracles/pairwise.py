"""RACT's losses, the (weakened) L2, and mean squared errors: values and gradients."""

from typing import Any

import tensorflow as tf

from bct_keras.methods import fd, l2, ract
from bct_keras.methods.method import unit

TOLERANCE = 1e-5
INPUTS = {"new", "old", "labels"}


def loss_of(key: str, new: tf.Tensor, old: tf.Tensor, same_class: tf.Tensor) -> tf.Tensor:
    """[batch], of unit vectors"""
    name, _, number = key.rpartition("_")
    if name == "l2_threshold":
        return l2.beyond(l2.distance(new, old), float(number))
    if name == "l2":
        return fd.squared_distance(new, old) / int(
            new.shape[1] or 0
        )  # the mean over all coordinates
    kinds = [old, new] if name.endswith("ract") else [old]
    k = int(number.removeprefix("top"))
    if name.startswith("contra"):
        return ract.contrastive(new, old, ract.Rivals(kinds, same_class, k), temperature=0.05)
    return ract.triplet(new, old, ract.Rivals(kinds, same_class, k), margin=0.8)


def check(stored):
    new, old = tf.constant(stored["new"]), unit(tf.constant(stored["old"]))
    same_class = tf.constant(stored["labels"][:, None] == stored["labels"][None, :])
    results = {}
    for key in sorted({name.partition("/")[0] for name in stored} - INPUTS):
        with tf.GradientTape() as tape:
            tape.watch(new)
            loss = tf.reduce_mean(loss_of(key, unit(new), old, same_class))
        results[f"{key}/loss"] = (loss.numpy(), TOLERANCE)
        gradient: Any = tape.gradient(loss, new)
        results[f"{key}/d_new"] = (gradient.numpy(), TOLERANCE)
    return INPUTS, results
