"""LCE: the reach of old classes, both terms and the whole loss with ArcFace, with their gradients.

As released, where the product with the new embedding is cut, and with a cosine in its place.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras.heads.arcface import ArcFace
from bct_keras.methods import class_features
from bct_keras.methods.lce import LCE
from bct_keras.methods.method import Training

TOLERANCE = 1e-5
INPUTS = {
    "old_features",
    "old_labels",
    "new_features",
    "labels",
    "class_weights",
    "lambda_a",
    "lambda_b",
    "scale",
    "margin",
}
LEFT_OUT = {"advbct_repository/": "LCE as AdvBCT's authors wrote it anew is no option of ours"}


def check(stored):
    features = of_classes(stored)
    results = {
        "old_class_centres": (features["centres"], TOLERANCE),
        "old_class_cosine": (features["least_cosines"], TOLERANCE),
    }
    for cosine in ("released", "unit"):
        for name, value in of_losses(stored, features, cosine).items():
            results[f"{cosine}/{name}"] = (value, TOLERANCE)
    return INPUTS, results


def of_classes(stored) -> dict[str, np.ndarray]:
    """The features of the classes, with the centres at length 1"""
    features, labels = stored["old_features"], stored["old_labels"]
    found = [
        class_features.of_block(features[None, labels == label]) for label in np.unique(labels)
    ]
    together = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    return {**together, "centres": class_features.normalised(together["centres"])}


def of_losses(stored, features: dict[str, np.ndarray], cosine: str) -> dict[str, Any]:
    classes, dims = stored["class_weights"].shape
    method = LCE(float(stored["lambda_a"]), float(stored["lambda_b"]), cosine)
    old: Any = SimpleNamespace(feature=features.__getitem__)
    method.prepare(old, Training(classes, dims))
    method.build()
    head = ArcFace(classes, margin=float(stored["margin"]), scale=float(stored["scale"]))
    head.build((None, dims))
    head.class_weights.assign(stored["class_weights"])
    new, labels = tf.constant(stored["new_features"]), tf.constant(stored["labels"], tf.int32)
    weights = head.class_weights.value
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(new)
        align = method.alignment(labels, {}, head)
        bound = tf.reduce_mean(method.outside(new, labels))
        classification = tf.reduce_mean(head(new, labels))
        total = classification + tf.reduce_mean(method.penalty(new, labels, {}, head))
    return {
        "own_cosine": method.cosines(new, labels).numpy(),
        "align": align.numpy(),
        "bound": bound.numpy(),
        "classification": classification.numpy(),
        "total": total.numpy(),
        "d_new_features_bound": gradient(tape, bound, new),
        "d_class_weights_align": gradient(tape, align, weights),
        "d_new_features_total": gradient(tape, total, new),
        "d_class_weights_total": gradient(tape, total, weights),
    }


def gradient(tape: tf.GradientTape, loss: tf.Tensor, variable: Any) -> np.ndarray:
    found: Any = tape.gradient(loss, variable)
    return found.numpy()
