"""NCCL as its released code trains it, in 1 and in 8 processes, under the released ArcFace.

Our default is what 8 processes train, alpha=8 and beta=0; of 1 process it is alpha=1. The values of
the second term, which have no gradient there, are those of our beta.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras.heads.arcface import ArcFace
from bct_keras.methods.nccl import NCCL
from oracles.nccl import StoredLogits

TOLERANCE = 1e-5
FIELDS = ("old_embeddings", "new_embeddings", "labels")
SETTINGS = {"queue_size", "temperature", "alpha", "beta", "scale", "margin", "class_weights"}
OF_PROCESSES = {"world1": 1, "world8": 8}
RANKS = 8


def check(stored):
    calls = sorted({name.partition("/")[0] for name in stored if "/" in name})
    head = arcface(stored)
    l1 = built(stored, alpha=float(stored["alpha"]), beta=0.0)
    trained = {
        world: built(stored, float(stored["alpha"]) * count, 0.0)
        for world, count in OF_PROCESSES.items()
    }
    l2 = {kind: built(stored, alpha=0.0, beta=1.0) for kind in ("clamped", "unclamped")}
    found: dict[str, Any] = {}
    for call in calls:
        given = SimpleNamespace(
            new=tf.constant(stored[f"{call}/new_embeddings"]),
            labels=tf.constant(stored[f"{call}/labels"], tf.int32),
            batch={"old_embedding": tf.constant(stored[f"{call}/old_embeddings"])},
        )
        of_l1 = l1.penalty(given.new, given.labels, given.batch, head).numpy()
        of_head = head(given.new, given.labels).numpy().mean()
        found[f"{call}/onehot_loss"] = of_head
        found[f"{call}/l1"] = of_l1.mean()
        found[f"{call}/world8/l1_per_rank"] = per_rank(of_l1)
        for kind, method in l2.items():
            of_l2 = second_term(method, kind, call, given, stored)
            total = of_head + of_l1 + float(stored["beta"]) * of_l2
            found[f"{call}/l2_{kind}"] = of_l2.mean()
            found[f"{call}/total_{kind}"] = total.mean()
            found[f"{call}/world8/l2_{kind}_per_rank"] = per_rank(of_l2)
            found[f"{call}/world8/total_{kind}_per_rank"] = per_rank(total)
        for kind, embeddings in (("old", given.batch["old_embedding"]), ("new", given.new)):
            logits = head.logits(embeddings, given.labels).numpy()
            found[f"{call}/{kind}_logits_unclamped"] = logits
            found[f"{call}/{kind}_logits_clamped"] = np.clip(logits, -1.0, 1.0)
        for world, method in trained.items():
            gradients = of_training(method, head, given)
            found[f"{call}/{world}/d_new_embeddings_l1"] = gradients["l1"]
            found[f"{call}/{world}/d_new_embeddings_total"] = gradients["total"]
            found[f"{call}/d_class_weights"] = gradients["class_weights"]
    inputs = SETTINGS | {f"{call}/{field}" for call in calls for field in FIELDS}
    return inputs, {key: (value, TOLERANCE) for key, value in found.items()}


def arcface(stored) -> ArcFace:
    classes, dims = stored["class_weights"].shape
    head: Any = ArcFace(
        classes=classes, scale=float(stored["scale"]), margin=float(stored["margin"])
    )
    head.build((None, dims))
    head.class_weights.assign(stored["class_weights"])
    return head


def built(stored, alpha: float, beta: float) -> NCCL:
    method = NCCL(int(stored["queue_size"]), float(stored["temperature"]), alpha, beta)
    method.classes, method.compatible_dims = stored["class_weights"].shape
    method.build()
    return method


def second_term(method: NCCL, kind: str, call: str, given, stored) -> np.ndarray:
    """[batch], of the logits that the released code gives it"""
    logits = [tf.constant(stored[f"{call}/{side}_logits_{kind}"]) for side in ("old", "new")]
    return method.penalty(given.new, given.labels, given.batch, StoredLogits(*logits)).numpy()


def of_training(method: NCCL, head: Any, given) -> dict[str, np.ndarray]:
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(given.new)
        penalty = tf.reduce_mean(method.penalty(given.new, given.labels, given.batch, head))
        total = tf.reduce_mean(head(given.new, given.labels)) + penalty
    wanted: Any = {
        "l1": tape.gradient(penalty, given.new),
        "total": tape.gradient(total, given.new),
        "class_weights": tape.gradient(total, head.class_weights.value),
    }
    return {name: gradient.numpy() for name, gradient in wanted.items()}


def per_rank(losses: np.ndarray) -> np.ndarray:
    """The mean of each process's rows"""
    return losses.reshape(RANKS, -1).mean(1)
