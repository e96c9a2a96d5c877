"""HOC: its loss, its fixed head, and the two together, with their gradients.

Theirs is lambda CE + (1 - lambda) HOC, ours CE + weight HOC with weight = (1 - lambda) / lambda:
the same but for a factor of lambda. Their class c has the corner `classes` - 1 - c of the simplex;
our rows stand in the order of the classes, so our corners are theirs backwards.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras.heads.simplex import Simplex, corners
from bct_keras.methods.hoc import HOC

TOLERANCE = 1e-5
INPUTS = {
    "mu",
    "lambda",
    "labels",
    "targets",
    "classes",
    "new_features",
    "old_features",
    "simplex/rows_of_1024",
}


def check(stored):
    results = {key: (value, TOLERANCE) for key, value in of_simplex(stored).items()}
    same_class = stored["targets"][:, None] == stored["targets"][None, :]
    results["same_class"] = (same_class, 0.0)
    for key, value in of_losses(stored).items():
        results[key] = (value, TOLERANCE)
    return INPUTS, results


def of_simplex(stored) -> dict[str, np.ndarray]:
    found = {}
    for count in (2, 3, 10, 17):
        found[f"simplex/weights_{count}"] = corners(count - 1)[::-1]
    rows = stored["simplex/rows_of_1024"]
    found["simplex/weights_1024_at_rows"] = corners(1023)[::-1][rows]
    return found


def of_losses(stored) -> dict[str, Any]:
    share, dims = float(stored["lambda"]), stored["new_features"].shape[1]
    head = Simplex(classes=int(stored["classes"]))
    head.build((None, dims))
    method = HOC(mu=float(stored["mu"]), weight=(1 - share) / share)
    method.compatible_dims = dims
    new = tf.constant(stored["new_features"])
    labels = tf.constant(stored["labels"], tf.int32)
    batch = {"old_embedding": tf.constant(stored["old_features"])}
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(new)
        cross_entropy = tf.reduce_mean(head(new, labels))
        hoc = tf.reduce_mean(method.penalty(new, labels, batch, head)) / method.weight
        total = share * (cross_entropy + method.weight * hoc)
    losses = {"cross_entropy": cross_entropy, "hoc": hoc, "total": total}
    found: dict[str, Any] = {"logits": head.logits(new, labels).numpy()[:, ::-1]}
    for name, loss in losses.items():
        gradient: Any = tape.gradient(loss, new)
        found[name] = loss.numpy()
        found[f"d_new_features_{name}"] = gradient.numpy()
    return found
