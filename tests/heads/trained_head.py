"""Trains a head behind one dense layer, on as many logical devices as are asked for.

sharded_test.py runs it:

python tests/heads/trained_head.py DEVICES FOLDER SPEC...

Each SPEC is name=head(arguments)[@optimizer].
"""

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bct_keras import specs as spec_reader
from bct_keras.callbacks.checkpoints import Checkpoints
from bct_keras.distribution import strategy as devices_used
from bct_keras.heads import HEADS
from bct_keras.methods.independent import Independent
from bct_keras.models import CompatibleModel
from bct_keras.optimizers import OPTIMIZERS

CLASSES, DIMS, BATCH, STEPS = 31, 6, 30, 10


def batches() -> tf.data.Dataset:
    random = np.random.default_rng(0)
    images = random.normal(size=(STEPS * BATCH, 5)).astype(np.float32)
    rows: Any = ({"image": images}, random.integers(0, CLASSES, STEPS * BATCH))
    return tf.data.Dataset.from_tensor_slices(rows).batch(BATCH, drop_remainder=True)


def built(spec: str, strategy: tf.distribute.Strategy, optimizer: str = "sgd") -> CompatibleModel:
    keras.utils.set_random_seed(3)
    with strategy.scope():
        inputs = keras.Input((5,))
        backbone = keras.Model(inputs, keras.layers.Dense(DIMS)(inputs))
        model = CompatibleModel(
            backbone, spec_reader.build(HEADS, spec, classes=CLASSES), Independent()
        )
        built_optimizer = spec_reader.build(OPTIMIZERS, optimizer, learning_rate=0.001)
        model.compile(built_optimizer)
    return model


def trained(
    spec: str,
    strategy: tf.distribute.Strategy,
    optimizer: str = "sgd",
    folder: Path | None = None,
    until: int = STEPS,
) -> dict[str, np.ndarray]:
    """Returns what was learned after so many steps; a folder's checkpoint is gone on from."""
    model = built(spec, strategy, optimizer)
    checkpoints = Checkpoints(model, folder, steps_per_epoch=1) if folder else None
    done = checkpoints.restore() if checkpoints else 0
    callbacks: Any = [checkpoints] if checkpoints else []
    data = batches().skip(done)
    model.fit(
        data,
        initial_epoch=done,
        epochs=until,
        steps_per_epoch=1,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )  # pyright: ignore
    backbone = {
        f"backbone_{index}": weight.numpy() for index, weight in enumerate(model.backbone.weights)
    }
    return {**backbone, **model.head.stored()}


def main() -> None:
    devices, folder, *specs = sys.argv[1:]
    strategy = devices_used.strategy("mirrored", int(devices))
    saved = Path(folder) / "saved"
    for given in specs:
        name, _, spec = given.partition("=")
        spec, _, optimizer = spec.partition("@")
        kept = saved / name if name.startswith("resumed") else None
        until = STEPS // 2 if kept and not kept.exists() else STEPS
        if kept:
            kept.mkdir(parents=True, exist_ok=True)
        np.savez(
            Path(folder) / f"{name}-{devices}.npz",
            allow_pickle=False,
            **trained(spec, strategy, optimizer or "sgd", kept, until),
        )


if __name__ == "__main__":
    main()
