"""Makes tensorflow_addons.npz: what tensorflow-addons 0.23, the last one, gives for optimizers and
triplet losses.

It needs TensorFlow 2.12 to 2.15 and cannot be imported beside Keras 3, so it gets an environment of
its own:

python3.11 -m venv /tmp/addons && /tmp/addons/bin/pip install 'tensorflow-cpu==2.15.1'
'tensorflow-addons==0.23.0' /tmp/addons/bin/python tests/golden/make_tensorflow_addons.py
"""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa  # pyright: ignore[reportMissingImports]

STEPS = 5
RATE = 0.1
DECAY = 0.05
MARGIN = 0.8


def after_steps(optimizer: Any, start: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """[steps, rows, columns]: the variable after each step"""
    variable = tf.Variable(tf.constant(start))
    found = []
    for gradient in gradients:
        optimizer.apply_gradients([(tf.constant(gradient), variable)])
        found.append(variable.numpy())
    return np.stack(found)


def triplet(loss: Any, embeddings: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    inputs = tf.constant(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = loss(labels, inputs)
    gradient: Any = tape.gradient(value, inputs)
    return {"loss": value.numpy(), "d_embeddings": gradient.numpy()}


def main() -> None:
    random = np.random.default_rng(0)
    start = random.normal(size=(3, 4)).astype(np.float32)
    gradients = random.normal(size=(STEPS, 3, 4)).astype(np.float32)
    # Unit vectors, two of each class: then the hardest positive is the only one.
    embeddings = random.normal(size=(12, 8)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    labels = np.repeat(np.arange(6, dtype=np.int32), 2)
    optimizers = {
        "sgdw": tfa.optimizers.SGDW(weight_decay=RATE * DECAY, learning_rate=RATE, momentum=0.9),
        "lamb": tfa.optimizers.LAMB(learning_rate=RATE, weight_decay=DECAY),
        "lamb_without_decay": tfa.optimizers.LAMB(learning_rate=RATE),
    }
    losses = {
        "triplet_hard": tfa.losses.TripletHardLoss(margin=MARGIN),
        "triplet_semihard": tfa.losses.TripletSemiHardLoss(margin=MARGIN, distance_metric="L2"),
    }
    values = {"start": start, "gradients": gradients, "embeddings": embeddings, "labels": labels}
    for name, optimizer in optimizers.items():
        values[name] = after_steps(optimizer, start, gradients)
    for name, loss in losses.items():
        for key, value in triplet(loss, embeddings, labels).items():
            values[f"{name}/{key}"] = value
    np.savez(Path(__file__).with_name("tensorflow_addons.npz"), **values)


if __name__ == "__main__":
    main()
