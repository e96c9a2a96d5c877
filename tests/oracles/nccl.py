"""NCCL: four calls in turn on one queue."""

from typing import Any

import keras
import tensorflow as tf

from bct_keras.methods.nccl import NCCL

TOLERANCE = 1e-5
INPUT_FIELDS = ("old_embeddings", "old_logits", "new_embeddings", "new_logits", "labels")
WEIGHTS = {"l1": (1.0, 0.0), "l2": (0.0, 1.0), "gradient": (1.0, 0.01)}  # alpha, beta


class StoredLogits(keras.layers.Layer):
    """Stands for the head: the method asks for the old embeddings' logits first."""

    def __init__(self, old: tf.Tensor, new: tf.Tensor):
        super().__init__()
        self.given = [old, new]

    def logits(self, embeddings, labels):
        return self.given.pop(0)


def built(stored, name: str) -> NCCL:
    alpha, beta = WEIGHTS[name]
    method = NCCL(queue=int(stored["queue_size"]), alpha=alpha, beta=beta)
    method.classes, method.compatible_dims = (
        int(stored["num_classes"]),
        stored["call0/old_embeddings"].shape[1],
    )
    method.build()
    return method


def check(stored):
    methods = {name: built(stored, name) for name in WEIGHTS}
    calls = sorted({name.partition("/")[0] for name in stored if "/" in name})
    inputs = {"queue_size", "num_classes"} | {
        f"{call}/{field}" for call in calls for field in INPUT_FIELDS
    }
    results = {}
    for call in calls:
        given = {field: tf.constant(stored[f"{call}/{field}"]) for field in INPUT_FIELDS}
        new, new_logits = given["new_embeddings"], given["new_logits"]
        for name, method in methods.items():
            with tf.GradientTape() as tape:
                tape.watch([new, new_logits])
                head = StoredLogits(given["old_logits"], new_logits)
                batch = {"old_embedding": given["old_embeddings"]}
                loss = tf.reduce_mean(
                    method.penalty(new, tf.cast(given["labels"], tf.int32), batch, head)
                )
            if name != "gradient":
                results[f"{call}/{name}"] = (loss.numpy(), TOLERANCE)
                continue
            gradients: Any = tape.gradient(
                loss, {"d_new_embeddings": new, "d_new_logits": new_logits}
            )
            results |= {
                f"{call}/{key}": (value.numpy(), TOLERANCE) for key, value in gradients.items()
            }
    return inputs, results
