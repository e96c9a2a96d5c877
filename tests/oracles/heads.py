"""Logits, losses and gradients of heads with margins.

A row at |cos| = 1 has no angle to differentiate: the gradients of the row and of its class are only
checked to be finite. Its own logit, and that of the row opposite its class (1 - |cos| below 1e-5),
is checked to 1e-3: the root of 1 - cos^2 is known there to 1e-5 at best, and the stored values
differ by 3e-5 from what float64 gives.
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras import specs
from bct_keras.heads import HEADS

TOLERANCE = 1e-5
INPUTS = {"embeddings", "weights", "labels"}
SPECS = {
    "arcface_exact": "arcface(scale=64, margin=0.5)",
    "arcface_straight_through": "arcface(scale=64, margin=0.5, gradient=straight_through)",
    "cosface": "cosface(scale=64, margin=0.4)",
    "combined_exact_m2_0.3": "combined(scale=64, margins=(1, 0.3, 0))",
    "combined_m3_0.35": "combined(scale=64, margins=(1, 0, 0.35))",
}


def check(stored):
    names = sorted({key.partition("/")[0] for key in stored} - INPUTS)
    results = {}
    for name in names:
        if name in SPECS:
            results |= {
                f"{name}/{key}": (value, TOLERANCE) for key, value in of_head(name, stored).items()
            }
    return INPUTS, results


def of_head(name: str, stored) -> dict[str, np.ndarray]:
    classes, dims = stored["weights"].shape
    head: Any = specs.build(HEADS, SPECS[name], classes=classes)
    head.build((None, dims))
    head.class_weights.assign(stored["weights"])
    embeddings, labels = tf.constant(stored["embeddings"]), tf.constant(stored["labels"], tf.int32)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        losses = head(embeddings, labels)
        mean = tf.reduce_mean(losses)
    gradients: Any = tape.gradient(mean, [embeddings, head.class_weights.value])
    found = {
        "logits": head.logits(embeddings, labels).numpy(),
        # The released code reports no more than -log 1e-30 for a row, and keeps the gradient all
        # the same.
        "loss": np.mean(np.minimum(losses.numpy(), -math.log(1e-30))).astype(np.float32),
        "d_embeddings": gradients[0].numpy(),
        "d_weights": gradients[1].numpy(),
    }
    leave_out_exact_rows(found, stored, name)
    return found


def leave_out_exact_rows(found: dict[str, np.ndarray], stored, name: str) -> None:
    unit = [
        values / np.linalg.norm(values, axis=1, keepdims=True)
        for values in (stored["embeddings"], stored["weights"])
    ]
    distance = 1 - np.abs(np.sum(unit[0] * unit[1][stored["labels"]], axis=1))
    for row in np.flatnonzero(distance < 1e-5):
        own = stored["labels"][row]
        places = {"logits": (row, own)}
        if distance[row] < 1e-6:
            places |= {"d_embeddings": row, "d_weights": own}
        for key, place in places.items():
            ours, theirs = found[key][place], stored[f"{name}/{key}"][place]
            if np.isfinite(ours).all() and (key != "logits" or abs(ours / theirs - 1) < 1e-3):
                # Where theirs is NaN ours stays, which is asked to be finite.
                found[key][place] = np.where(np.isnan(theirs), ours, theirs)
