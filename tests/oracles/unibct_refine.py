"""UniBCT's prototypes of every kind, and the loss that follows with each of them.

Those of the softmax over columns, as released, are checked to be what ours are without a graph: the
class means.
"""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras.methods import class_features
from bct_keras.methods.method import Training
from bct_keras.methods.unibct import UniBCT

TOLERANCE = 1e-5
# The stored ones went through an inverse in float32.
PROTOTYPE_TOLERANCE = 1e-4
INPUTS = {
    "old_features",
    "new_features",
    "labels",
    "embeddings",
    "embedding_labels",
    "lam",
    "temperature",
}


def check(stored):
    means = prototypes_of(stored, lambda old, new: class_features.means(old))
    unit_means = prototypes_of(
        stored, lambda old, new: class_features.means(class_features.normalised(old))
    )
    initial = prototypes_of(stored, lambda old, new: class_features.prototypes(old))
    found = {"released": means}
    for new_kind in ("raw", "unit"):
        found[f"columns/raw_old_{new_kind}_new"] = means
        found[f"columns/unit_old_{new_kind}_new"] = unit_means
    for old_kind, new_kind in itertools.product(("raw", "unit"), repeat=2):
        found[f"rows/{old_kind}_old_{new_kind}_new"] = refined(stored, old_kind, new_kind)
    del found["columns/raw_old_raw_new"]  # what was released
    results = {"class_means": (means, TOLERANCE)} | of_loss(stored, "initial", "", initial)
    for name, prototypes in found.items():
        results |= of_loss(stored, name, "", prototypes)
        results |= of_loss(stored, name, "normalised_", class_features.normalised(prototypes))
    for moment, value in zip(("before", "after"), weights(stored), strict=True):
        results[f"weight_{moment}_refresh"] = (value, TOLERANCE)
    return INPUTS, results


def prototypes_of(stored, formula) -> np.ndarray:
    """`formula(old, new)` of each class, whose arrays are [1, n, dims]"""
    labels = stored["labels"]
    found = []
    for label in np.unique(labels):
        rows = labels == label
        found.append(
            formula(stored["old_features"][None, rows], stored["new_features"][None, rows])
        )
    return np.concatenate(found)


def refined(stored, old_kind: str, new_kind: str) -> np.ndarray:
    temperature, smoothing = float(stored["temperature"]), float(stored["lam"])

    def formula(old, new):
        old = class_features.normalised(old) if old_kind == "unit" else old
        new = class_features.normalised(new) if new_kind == "unit" else new
        return class_features.refined_prototypes(old, new, temperature, smoothing)

    return prototypes_of(stored, formula)


def of_loss(stored, name: str, kind: str, prototypes: np.ndarray) -> dict[str, tuple[Any, float]]:
    method = built(prototypes, refreshed=True)
    embeddings, labels = (
        tf.constant(stored["embeddings"]),
        tf.constant(stored["embedding_labels"], tf.int32),
    )
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        loss = tf.reduce_mean(method.penalty(embeddings, labels, {}, None))
    gradient: Any = tape.gradient(loss, embeddings)
    of_prototypes = f"{name}/prototypes{'_normalised' if kind else ''}"
    return {
        of_prototypes: (prototypes, PROTOTYPE_TOLERANCE),
        f"{name}/{kind}loss": (loss.numpy(), TOLERANCE),
        f"{name}/{kind}d_embeddings": (gradient.numpy(), TOLERANCE),
    }


def weights(stored) -> tuple[float, float]:
    """Of the loss, before the first refresh and after it"""
    embeddings, labels = (
        tf.constant(stored["embeddings"]),
        tf.constant(stored["embedding_labels"], tf.int32),
    )
    losses = []
    for refreshed in (False, True):
        method = built(stored["class_means"], refreshed)
        losses.append(float(tf.reduce_mean(method.penalty(embeddings, labels, {}, None))))
    return losses[0] / float(stored["released/loss"]), losses[1] / float(stored["released/loss"])


def built(prototypes: np.ndarray, refreshed: bool) -> UniBCT:
    method = UniBCT()
    old: Any = SimpleNamespace(feature=lambda name: prototypes, has_unit_length=lambda: False)
    method.prepare(old, Training(*prototypes.shape))
    method.build()
    method.refreshes.assign(int(refreshed))
    return method
