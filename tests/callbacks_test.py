import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras.callbacks import Checkpoints, TrainingProgress
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.data.input import training_batches
from bct_keras.errors import InputError
from bct_keras.methods import METHODS
from bct_keras.methods.method import Method
from bct_keras.recipe import Recipe


# Dropout, momentum, a falling rate and mirrored images: a run that goes on has to find all of them as they were.
def counting_recipe() -> Recipe:
    return Recipe(
        backbone="iresnet_small(width=4, dropout=0.4)",
        dims=8,
        head="arcface",
        method="counting",
        optimizer="sgd",
        schedule="cosine",
        learning_rate=0.01,
        batch_size=8,
        epochs=4,
        mirror=True,
        seed=0,
    )


class Counting(Method):
    """A method with a weight that changes the loss from step to step."""

    def build(self, input_shape=None):
        self.calls = self.add_weight(
            shape=(), initializer="zeros", trainable=False, aggregation="only_first_replica", name="calls"
        )

    def penalty(self, new, labels, batch, head):
        self.calls.assign_add(1.0)
        return self.calls * tf.reduce_sum(new, axis=1)


@pytest.fixture(autouse=True)
def counting(monkeypatch):
    monkeypatch.setitem(METHODS, "counting", Counting)


@pytest.fixture(scope="module")
def data(data_root) -> DataSet:
    return open_data_set(data_root / "new")


def trained(
    data: DataSet,
    folder: Path,
    until: int,
    recipe: Recipe | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> tuple[int, keras.Model]:
    """A fresh model, trained to the end of epoch `until` from where the folder's checkpoint stands."""
    folder.mkdir(exist_ok=True)
    recipe = recipe or counting_recipe()
    steps = recipe.steps_per_epoch(data.records, replicas=1)
    with (strategy or tf.distribute.get_strategy()).scope():
        model = recipe.build_model(data.image_size, data.classes, steps * recipe.epochs, recipe.build_method())
        checkpoints = Checkpoints(model, folder, steps)
        first_epoch = checkpoints.restore()
    model.fit(
        training_batches(data, None, (), recipe.batch_size, recipe.seed, first_epoch, recipe.epochs, recipe.mirror),
        initial_epoch=first_epoch,
        epochs=until,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,  # pyright: ignore[reportArgumentType]
        callbacks=[checkpoints],
    )
    return first_epoch, model


def metrics_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("replicas", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_broken_run_ends_bit_for_bit_as_an_unbroken_one(data, tmp_path, replicas, two_replicas):
    strategy = two_replicas if replicas == 2 else None
    _, unbroken = trained(data, tmp_path / "unbroken", until=4, strategy=strategy)
    trained(data, tmp_path / "broken", until=2, strategy=strategy)
    first_epoch, broken = trained(data, tmp_path / "broken", until=4, strategy=strategy)
    assert first_epoch == 2
    for ours, theirs in zip(broken.variables, unbroken.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.path)
    for ours, theirs in zip(broken.optimizer.variables, unbroken.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.path)
    assert metrics_of(tmp_path / "broken") == metrics_of(tmp_path / "unbroken")


def test_metrics_have_a_line_for_each_epoch(data, tmp_path):
    trained(data, tmp_path, until=3)
    lines = metrics_of(tmp_path)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert all(np.isfinite(line["loss"]) for line in lines)
    assert len({line["loss"] for line in lines}) == 3


def test_an_epoch_that_was_broken_off_leaves_no_line(data, tmp_path):
    trained(data, tmp_path, until=1)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "loss": 7.0}\n')  # killed between this line and the checkpoint
    first_epoch, _ = trained(data, tmp_path, until=2)
    assert first_epoch == 1
    assert [line["epoch"] for line in metrics_of(tmp_path)] == [1, 2]
    assert metrics_of(tmp_path)[1]["loss"] != 7.0


def test_only_the_last_checkpoints_are_kept(data, tmp_path):
    trained(data, tmp_path, until=4)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").glob("*.index"))
    assert kept == ["ckpt-3.index", "ckpt-4.index"]


def test_a_loss_that_is_no_number_stops_the_run(data, tmp_path):
    # A rate of 1e20 takes the weights, and with them the loss, out of float32.
    with pytest.raises(InputError, match="the loss is nan in epoch 1; try a lower --learning_rate"):
        trained(data, tmp_path, until=4, recipe=replace(counting_recipe(), learning_rate=1e20, head="softmax"))
    assert metrics_of(tmp_path) == []
    assert not list(tmp_path.glob("checkpoints/*"))


def test_progress_says_a_line_for_each_epoch_where_nobody_watches(capsys):
    progress = TrainingProgress(epochs=3, steps_per_epoch=2, first_epoch=1, batch_size=8)
    progress.on_epoch_begin(1)
    for step in range(2):
        progress.on_train_batch_end(step, {"loss": 1.0})
    progress.on_epoch_end(1, {"loss": 1.23456, "mixed_rows": 2.0})
    progress.on_train_end()
    printed = capsys.readouterr()
    (line,) = printed.out.splitlines()
    assert line.startswith("epoch 2/3: loss 1.235, mixed_rows 2, ")
    assert line.endswith(" images/s")
    assert printed.err == ""
