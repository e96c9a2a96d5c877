import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_recipe import small_recipe
from tensorboard.backend.event_processing import event_file_loader

from bct_keras.callbacks import tensorboard
from bct_keras.data.dataset import open_data_set
from bct_keras.errors import InputError
from bct_keras.methods import METHODS
from bct_keras.methods.method import Method
from bct_keras.train.recipe import Recipe
from bct_keras.train.trainer import Run, Watch


class Watching(Method):
    """Keeps the last step that it saw; how long the run will be each method is told."""

    def build(self, input_shape=None):
        self.last = self.add_weight(
            name="last", shape=(), dtype="int64", initializer="zeros", trainable=False
        )

    def penalty(self, new, labels, batch, head):
        self.last.assign(batch["step"])
        return super().penalty(new, labels, batch, head)


class Faulty(Method):
    """No number comes out of so many of its steps, in the middle of the first epoch's four."""

    def __init__(self, faults: int):
        super().__init__()
        self.faults = faults

    def penalty(self, new, labels, batch, head):
        bad = (batch["step"] >= 1) & (batch["step"] <= self.faults)
        return tf.where(bad, np.nan, 0.0) * tf.reduce_sum(new, axis=1)


RECIPE = small_recipe(epochs=3)


def run(recipe: Recipe, data: Path, workdir: Path, nan_limit: int = 10) -> list[str]:
    """Returns what the run says."""
    said: list[str] = []
    Run(
        recipe=recipe,
        data=open_data_set(data),
        old=None,
        strategy=tf.distribute.get_strategy(),
        workdir=workdir,
        watch=Watch(checkpoint_steps=0, checkpoints_kept=1, nan_limit=nan_limit, validation=None),
        flags="--seed=3\n",
        say=said.append,
    ).train()
    return said


def test_a_run_that_dropped_a_step_tells_of_it(data_root, tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "faulty", Faulty)
    recipe = replace(RECIPE, method="faulty(faults=1)", on_nan="skip")
    said = run(recipe, data_root / "new", tmp_path / "run")
    steps = "4 steps an epoch"  # 36 / 8
    assert said == [
        f"training {tmp_path / 'run'}: 36 images of 6 identities, {steps}, 1 replica(s)",
        "1 of 12 steps were dropped, whose loss or gradient was no finite number",
    ]
    assert (tmp_path / "run" / "flags.txt").read_text() == "--seed=3\n"
    assert run(recipe, data_root / "new", tmp_path / "run") == [f"{tmp_path / 'run'} is up to date"]
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [line["dropped_steps"] for line in lines] == [1, 1, 1]
    with pytest.raises(InputError, match="Train on from it in a folder of its own: start="):
        run(replace(recipe, epochs=4), data_root / "new", tmp_path / "run")
    logged = scalars(tmp_path / "run" / "log")
    assert logged["embedding/length"] == logged["head/accuracy"] == [4, 8, 12]
    assert {"embedding/cosine_between_identities", "epoch_learning_rate"} < logged.keys()


def test_a_run_that_would_drop_more_than_a_tenth_of_its_steps_fails(
    data_root, tmp_path, monkeypatch
):
    monkeypatch.setitem(METHODS, "faulty", Faulty)
    recipe = replace(RECIPE, method="faulty(faults=2)", on_nan="skip")
    with pytest.raises(
        InputError,
        match=r"^2 steps had a loss .* and 1 may be dropped .* no more than a tenth of the",
    ):
        run(recipe, data_root / "new", tmp_path / "run")
    assert not (tmp_path / "run" / "encoder.keras").exists()


def scalars(folder: Path) -> dict[str, list[int]]:
    """The steps at which each scalar was written, by what TensorBoard itself reads from event
    files.
    """
    found: dict[str, list[int]] = {}
    for path in sorted(folder.rglob("events.*")):
        for event in event_file_loader.EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
    # Files are named by a counter, and the tenth comes before the ninth.
    return {tag: sorted(steps) for tag, steps in found.items()}


def test_tensorboard_counts_the_steps_of_the_run_over_all_calls_of_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "STEPS_BETWEEN_SCALARS", 2)
    image = keras.Input((2,))
    model: Any = keras.Model(image, keras.layers.Dense(1)(image))
    model.compile(optimizer="sgd", loss="mse")
    model.steps = tf.Variable(tf.constant(4))  # so many were done when the run went on
    log = tensorboard.TensorBoardLog(model, tmp_path, "--seed=3\n--dims=4\n")
    for first_epoch in (1, 2):  # as a run that goes on calls it
        rows = np.ones((3, 2)), np.ones((3, 1))
        model.fit(
            *rows,
            batch_size=1,
            initial_epoch=first_epoch,
            epochs=first_epoch + 1,
            verbose=0,
            callbacks=[log],
        )
    assert scalars(tmp_path) == {
        "flags": [4],
        "step/loss": [6, 8, 10],  # of 5 to 10, every second
        "step/learning_rate": [6, 8, 10],
        "epoch_loss": [1, 2],
        "epoch_learning_rate": [1, 2],
    }


@pytest.mark.parametrize("micro_batches", [1, 4])
def test_a_method_is_told_of_as_many_steps_as_it_sees(
    data_root, tmp_path, monkeypatch, micro_batches
):
    # AdvBCT, which fades with the share of them that is done, would else be through after a quarter
    # of the run.
    method = Watching()
    monkeypatch.setitem(METHODS, "watching", lambda: method)
    recipe = replace(RECIPE, method="watching", epochs=2, micro_batches=micro_batches)
    run(recipe, data_root / "new", tmp_path / "run")
    assert method.steps == 2 * 4 * micro_batches  # 36 images
    assert int(method.last.numpy()) == method.steps - 1
