import contextlib
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras.callbacks import MetricsFile
from bct_keras.checkpoints import Checkpoints, StoppedError, StopRequest
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.data.input import training_batches
from bct_keras.errors import InputError
from bct_keras.methods import METHODS
from bct_keras.methods.method import Method
from bct_keras.recipe import Recipe
from bct_keras.trainer import stretches


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


class StopAfter(keras.callbacks.Callback):
    """As if the process had been killed: no epoch ends."""

    def __init__(self, steps: int):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


class AskToStop(keras.callbacks.Callback):
    """As a signal that comes within this step."""

    def __init__(self, stop: StopRequest, step: int):
        super().__init__()
        self.stop, self.left = stop, step

    def on_train_batch_begin(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.stop.signal = "SIGTERM"


def trained(
    data: DataSet,
    folder: Path,
    killed_after: int | None = None,
    recipe: Recipe | None = None,
    strategy: tf.distribute.Strategy | None = None,
    every_steps: int = 0,
    stop: StopRequest | None = None,
    also: Sequence[keras.callbacks.Callback] = (),
) -> tuple[int, keras.Model]:
    """The steps found done, and a model trained from there to the end, or until so many steps later."""
    folder.mkdir(exist_ok=True)
    recipe = recipe or counting_recipe()
    steps = recipe.steps_per_epoch(data.records, replicas=1)
    with (strategy or tf.distribute.get_strategy()).scope():
        method = recipe.build_method()
        model = recipe.build_model(data.image_size, data.classes, steps * recipe.epochs, method)
    checkpoints = Checkpoints(model, folder, steps, every_steps, stop=stop)
    done = checkpoints.restore()
    metrics = MetricsFile(folder / "metrics.jsonl", done // steps)
    killer = [StopAfter(killed_after)] if killed_after else []
    with contextlib.suppress(KeyboardInterrupt):
        for first_step, last_epoch in stretches(done, steps, recipe.epochs):
            model.fit(
                training_batches(
                    data, None, (), recipe.batch_size, recipe.seed, first_step, recipe.epochs, recipe.mirror
                ),
                initial_epoch=first_step // steps,
                epochs=last_epoch,
                steps_per_epoch=steps - first_step % steps,
                shuffle=False,
                verbose=0,  # pyright: ignore[reportArgumentType]
                callbacks=[*also, metrics, checkpoints, *killer],
            )
    return done, model


def metrics_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


STEPS = 4  # 36 images in batches of 8


def assert_same(ours: keras.Model, theirs: keras.Model) -> None:
    for one, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
    for one, other in zip(ours.optimizer.variables, theirs.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(METHODS, "counting", Counting)
        folder = tmp_path_factory.mktemp("unbroken")
        return folder, trained(data, folder)[1]


@pytest.mark.parametrize(
    ("killed_after", "every_steps", "found"),
    [(2 * STEPS + 1, 0, 2 * STEPS), (2 * STEPS + 3, 2, 2 * STEPS + 2)],
    ids=["epochs", "steps"],
)
def test_a_killed_run_ends_bit_for_bit_as_an_unbroken_one(data, tmp_path, unbroken, killed_after, every_steps, found):
    folder, whole = unbroken
    trained(data, tmp_path, killed_after, every_steps=every_steps)
    done, broken = trained(data, tmp_path, every_steps=every_steps)
    assert done == found
    assert_same(broken, whole)
    # An epoch that was broken off has the mean over its last steps alone.
    ours, theirs = metrics_of(tmp_path), metrics_of(folder)
    assert [line["epoch"] for line in ours] == [1, 2, 3, 4]
    assert ours[3] == theirs[3]
    assert (ours[2] == theirs[2]) == (every_steps == 0)


@pytest.mark.slow
def test_a_killed_run_of_two_replicas_ends_bit_for_bit_as_an_unbroken_one(data, tmp_path, two_replicas):
    _, whole = trained(data, tmp_path / "whole", strategy=two_replicas)
    trained(data, tmp_path / "broken", killed_after=6, strategy=two_replicas, every_steps=1)
    done, broken = trained(data, tmp_path / "broken", strategy=two_replicas)
    assert done in (5, 6)
    assert_same(broken, whole)


@pytest.mark.slow
def test_a_run_may_go_on_on_another_number_of_replicas(data, tmp_path, two_replicas):
    # Small steps, because PReLU's slope jumps at 0: see contract_test.py.
    recipe = replace(counting_recipe(), backbone="iresnet_small(width=4)", learning_rate=1e-4, epochs=2)
    _, whole = trained(data, tmp_path / "whole", recipe=recipe)
    trained(data, tmp_path / "broken", killed_after=6, recipe=recipe, every_steps=1)
    done, model = trained(data, tmp_path / "broken", recipe=recipe, strategy=two_replicas)
    assert done >= 5
    for one, other in zip(model.trainable_variables, whole.trainable_variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-5, err_msg=one.path)


def test_a_stopped_run_leaves_a_checkpoint_of_its_last_step(data, tmp_path, unbroken):
    stop = StopRequest()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StoppedError, match="stopped by SIGTERM after step 1; the same command goes on from there"):
            trained(data, tmp_path, stop=stop)
    done, model = trained(data, tmp_path)
    assert done == 1
    assert_same(model, unbroken[1])


def test_a_run_that_is_stopped_at_the_last_step_of_an_epoch_ends_the_epoch(data, tmp_path, unbroken):
    stop = StopRequest()
    with pytest.raises(StoppedError, match=f"after step {STEPS}; "):
        trained(data, tmp_path, stop=stop, also=[AskToStop(stop, STEPS)])
    assert metrics_of(tmp_path) == metrics_of(unbroken[0])[:1]
    done, model = trained(data, tmp_path)
    assert done == STEPS
    assert_same(model, unbroken[1])
    assert metrics_of(tmp_path) == metrics_of(unbroken[0])


def test_a_checkpoint_that_cannot_be_read_is_named(data, tmp_path):
    trained(data, tmp_path, killed_after=2 * STEPS + 1)
    (newest,) = (tmp_path / "checkpoints").glob(f"ckpt-{2 * STEPS}.data*")
    newest.write_bytes(newest.read_bytes()[:100])
    with pytest.raises(InputError, match=f"ckpt-{2 * STEPS}: this checkpoint cannot be read"):
        trained(data, tmp_path)


def test_weights_that_are_no_numbers_are_not_kept(data, tmp_path):
    recipe = replace(counting_recipe(), learning_rate=1e20, head="softmax")
    with pytest.raises(InputError, match="a weight is not a finite number; there is no checkpoint yet"):
        trained(data, tmp_path, recipe=recipe)
    assert not list(tmp_path.glob("checkpoints/*.index"))


def test_only_the_last_checkpoints_are_kept(unbroken):
    kept = sorted(path.name for path in (unbroken[0] / "checkpoints").glob("*.index"))
    assert kept == [f"ckpt-{3 * STEPS}.index", f"ckpt-{4 * STEPS}.index"]


def test_metrics_have_a_line_for_each_epoch(unbroken):
    lines = metrics_of(unbroken[0])
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert all(np.isfinite(line["loss"]) for line in lines)
    assert len({line["loss"] for line in lines}) == 4


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (0, [(0, 3)]),  # steps of 4: three whole epochs
        (8, [(8, 3)]),
        (5, [(5, 2), (8, 3)]),  # the rest of the second epoch, then the third
        (11, [(11, 3)]),
        (12, []),
    ],
)
def test_stretches(done, expected):
    assert stretches(done, steps=4, epochs=3) == expected
