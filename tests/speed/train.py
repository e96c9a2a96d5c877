"""What a step of training costs: one JSON line per figure.

`overhead` sets the whole trainer (fit, callbacks, logging, TFRecords) against a bare tf.function of
forward, backward and update on a constant batch. `pytorch` sets a step against PyTorch's, the
better of its two memory layouts, by the Python given as --torch, which needs torch alone.
`variants` tells what bfloat16 changes.
"""

import bct_keras  # noqa: F401 -- before TensorFlow, as in the commands: it sets the allocator

# isort: split

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from recordio_files import jpegs, write_recordio

from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.methods import METHODS
from bct_keras.methods.independent import Independent
from bct_keras.models import CompatibleModel
from bct_keras.prepare.run import prepare
from bct_keras.train.recipe import Recipe
from bct_keras.train.trainer import Run, Watch

REQUIRED_OVERHEAD, REQUIRED_OF_PYTORCH = 1.05, 1.2
IDENTITIES, STEPS = 100, 8


class StepTimes(keras.callbacks.Callback):
    """From the start of one step to that of the next, so that nothing between them is left out."""

    starts: list[float]

    def on_train_begin(self, logs=None):
        StepTimes.starts = []

    def on_train_batch_begin(self, batch, logs=None):
        StepTimes.starts.append(time.perf_counter())


class Timed(Independent):
    def callbacks(self):
        return [StepTimes()]


METHODS["timed"] = Timed
RECIPE = Recipe(
    backbone="iresnet18",
    dims=512,
    head="arcface",
    method="timed",
    optimizer="sgd",
    schedule="cosine",
    learning_rate=0.1,
    batch_size=64,
    epochs=1,
    mirror=True,
    seed=0,
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", default=["overhead", "pytorch", "variants"])
    parser.add_argument(
        "--torch", default="/tmp/torch-venv/bin/python", help="a Python that has torch"
    )
    arguments = parser.parse_args()
    if "overhead" in arguments.what:
        overhead()
    if "pytorch" in arguments.what:
        against_pytorch(arguments.torch)
    if "variants" in arguments.what:
        variants()


def overhead() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = made_data(Path(folder))
        bare = bare_step(built(RECIPE, data.classes), RECIPE.batch_size, data.classes)
        before = timed(bare, STEPS // 2)
        whole = trainer_seconds(data, Path(folder) / "run")
        after = timed(bare, STEPS // 2)
    # The first step of the trainer traces, and the last has no next one.
    seconds, other = statistics.median(whole[1:]), statistics.median([*before, *after])
    tell(
        "trainer, seconds a step",
        seconds,
        "s",
        "bare tf.function",
        other,
        REQUIRED_OVERHEAD,
        seconds / other,
    )


def made_data(folder: Path) -> DataSet:
    write_recordio(folder / "faces", jpegs(IDENTITIES), RECIPE.batch_size * (STEPS + 2))
    prepare(f"recordio({folder / 'faces'})", "none", folder / "data")
    return open_data_set(folder / "data")


def trainer_seconds(data: DataSet, workdir: Path) -> list[float]:
    watch = Watch(checkpoint_steps=1000, checkpoints_kept=2, nan_limit=10, validation=None)
    strategy = tf.distribute.get_strategy()
    Run(recipe=RECIPE, data=data, old=None, strategy=strategy, workdir=workdir, watch=watch).train()
    return np.diff(StepTimes.starts).tolist()


def built(recipe: Recipe, classes: int) -> CompatibleModel:
    return recipe.build_model(112, classes, steps=1000, method=recipe.build_method())


def constant_batch(batch_size: int, classes: int) -> Any:
    images = np.random.default_rng(0).integers(0, 256, (batch_size, 112, 112, 3), np.uint8)
    return {"image": tf.constant(images)}, tf.constant(np.arange(batch_size) % classes, tf.int32)


def bare_step(model: CompatibleModel, batch_size: int, classes: int) -> Callable[[], Any]:
    batch, labels = constant_batch(batch_size, classes)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model.head(model.backbone(batch["image"], training=True), labels))
        model.optimizer.apply(
            tape.gradient(loss, model.trainable_variables), model.trainable_variables
        )
        return loss

    return step


def own_step(recipe: Recipe) -> Callable[[], Any]:
    """CompatibleModel's own, as the trainer makes it."""
    model = built(recipe, IDENTITIES)
    step = tf.function(model.train_step)
    batch = constant_batch(recipe.batch_size, IDENTITIES)
    return lambda: step(batch)["loss"].numpy()


def timed(step: Callable[[], Any], count: int) -> list[float]:
    for _ in range(2):
        np.asarray(step())  # traces, and makes the memory
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        np.asarray(step())
        seconds.append(time.perf_counter() - start)
    return seconds


def images_per_second(recipe: Recipe) -> float:
    return recipe.batch_size / statistics.median(timed(own_step(recipe), 5))


def against_pytorch(python: str) -> None:
    script = Path(__file__).with_name("pytorch_step.py")
    try:
        done = subprocess.run([python, str(script), "32"], capture_output=True, text=True)
    except FileNotFoundError:
        done = None
    if done is None or done.returncode:
        print(
            f"pytorch: left out, {python} has no torch (pip install torch==2.13.0; --torch names"
            " another)"
        )
        return
    layouts = json.loads(done.stdout)
    best = max(layouts, key=lambda layout: layouts[layout])
    rate = images_per_second(replace(RECIPE, batch_size=32))
    against = f"PyTorch, {best}"
    tell(
        "iresnet18, batch 32",
        rate,
        "images/s",
        against,
        layouts[best],
        REQUIRED_OF_PYTORCH,
        rate / layouts[best],
    )


def variants() -> None:
    plain = replace(RECIPE, batch_size=32)
    rate = images_per_second(plain)
    for name, recipe in {
        "--precision=mixed_bfloat16": replace(plain, precision="mixed_bfloat16"),
    }.items():
        found = images_per_second(recipe)
        tell(
            f"iresnet18, batch 32, {name}",
            found,
            "images/s",
            "float32",
            rate,
            None,
            found / rate,
        )


def tell(
    name: str,
    value: float,
    unit: str,
    against: str,
    other: float,
    required: float | None,
    ratio: float,
) -> None:
    against = f"{against}, {other:.4g} {unit}" + (f" (required: {required})" if required else "")
    figure = {
        "name": name,
        "value": round(value, 4),
        "unit": unit,
        "against": against,
        "ratio": round(ratio, 3),
    }
    print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
