import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from bct_keras.data.dataset import open_data_set
from bct_keras.errors import InputError
from bct_keras.methods import METHODS
from bct_keras.methods.method import Method
from bct_keras.recipe import Recipe
from bct_keras.trainer import Watch, train


class Watching(Method):
    """Keeps the last step that it saw; how long the run will be each method is told."""

    def build(self, input_shape=None):
        self.last = self.add_weight(name="last", shape=(), dtype="int64", initializer="zeros", trainable=False)

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


RECIPE = Recipe(
    backbone="iresnet_small(width=4)",
    dims=8,
    head="arcface",
    method="independent",
    optimizer="sgd",
    schedule="cosine",
    learning_rate=0.01,
    batch_size=8,
    epochs=3,
    mirror=False,
    seed=0,
)


def run(recipe: Recipe, data: Path, workdir: Path, nan_limit: int = 10) -> None:
    watch = Watch(checkpoint_steps=0, checkpoints_kept=1, nan_limit=nan_limit, validation=None)
    train(recipe, open_data_set(data), None, tf.distribute.get_strategy(), workdir, watch)


def test_a_run_that_dropped_a_step_tells_of_it(data_root, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(METHODS, "faulty", Faulty)
    run(replace(RECIPE, method="faulty(faults=1)", on_nan="skip"), data_root / "new", tmp_path / "run")
    assert "1 of 12 steps were dropped, whose loss or gradient was no finite number\n" in capsys.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["dropped_steps"] for line in lines] == [1, 1, 1]


def test_a_run_that_would_drop_more_than_a_tenth_of_its_steps_fails(data_root, tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "faulty", Faulty)
    recipe = replace(RECIPE, method="faulty(faults=2)", on_nan="skip")
    with pytest.raises(InputError, match=r"^2 steps had a loss .* and 1 may be dropped .* no more than a tenth of the"):
        run(recipe, data_root / "new", tmp_path / "run")
    assert not (tmp_path / "run" / "encoder.keras").exists()


@pytest.mark.parametrize("micro_batches", [1, 4])
def test_a_method_is_told_of_as_many_steps_as_it_sees(data_root, tmp_path, monkeypatch, micro_batches):
    # AdvBCT, which fades with the share of them that is done, would else be through after a quarter of the run.
    method = Watching()
    monkeypatch.setitem(METHODS, "watching", lambda: method)
    recipe = replace(RECIPE, method="watching", epochs=2, micro_batches=micro_batches)
    run(recipe, data_root / "new", tmp_path / "run")
    assert method.steps == 2 * 4 * micro_batches  # 36 images
    assert int(method.last.numpy()) == method.steps - 1
