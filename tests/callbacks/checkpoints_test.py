import contextlib
import json
import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_recipe import small_recipe

from bct_keras.callbacks.checkpoints import Checkpoints, StoppedError, StopRequest
from bct_keras.callbacks.watching import MetricsFile
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.errors import InputError
from bct_keras.methods import METHODS
from bct_keras.methods.method import Method
from bct_keras.train.input import training_batches
from bct_keras.train.recipe import Recipe
from bct_keras.train.trainer import stretches

pytestmark = pytest.mark.seconds(16)


# Dropout, momentum, a falling rate and mirrored images: a run that goes on has to find all of them
# as they were.
def counting_recipe() -> Recipe:
    return small_recipe(
        backbone="tiny_backbones:one_convolution(dropout=0.4)",
        method="counting",
        epochs=4,
        mirror=True,
    )


class Counting(Method):
    """A method with a weight that changes the loss from step to step."""

    def build(self, input_shape=None):
        self.calls = self.add_weight(
            shape=(),
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name="calls",
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
    """Trains from the newest checkpoint to the end, or until so many steps later.

    Returns:
        The steps that were found done, and the model.
    """
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
                    data,
                    None,
                    (),
                    recipe.batch_size,
                    recipe.seed,
                    first_step,
                    recipe.epochs,
                    recipe.mirror,
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
def test_a_killed_run_ends_bit_for_bit_as_an_unbroken_one(
    data, tmp_path, unbroken, killed_after, every_steps, found
):
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


@pytest.mark.long
def test_a_killed_run_of_two_replicas_ends_bit_for_bit_as_an_unbroken_one(
    data, tmp_path, two_replicas
):
    _, whole = trained(data, tmp_path / "whole", strategy=two_replicas)
    trained(data, tmp_path / "broken", killed_after=6, strategy=two_replicas, every_steps=1)
    done, broken = trained(data, tmp_path / "broken", strategy=two_replicas)
    assert done in (5, 6)
    assert_same(broken, whole)


@pytest.mark.long
def test_a_run_may_go_on_on_another_number_of_replicas(data, tmp_path, two_replicas):
    # Small steps, because ReLU's slope jumps at 0: see contract_test.py.
    recipe = replace(
        counting_recipe(), backbone="tiny_backbones:one_convolution", learning_rate=1e-4, epochs=2
    )
    _, whole = trained(data, tmp_path / "whole", recipe=recipe)
    trained(data, tmp_path / "broken", killed_after=6, recipe=recipe, every_steps=1)
    done, model = trained(data, tmp_path / "broken", recipe=recipe, strategy=two_replicas)
    assert done >= 5
    for one, other in zip(model.trainable_variables, whole.trainable_variables, strict=True):
        np.testing.assert_allclose(
            one.numpy(), other.numpy(), rtol=1e-4, atol=1e-5, err_msg=one.path
        )


def test_a_stopped_run_leaves_a_checkpoint_of_its_last_step(data, tmp_path, unbroken):
    stop = StopRequest()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(
            StoppedError,
            match="stopped by SIGTERM after step 1; the same command goes on from there",
        ):
            trained(data, tmp_path, stop=stop)
    done, model = trained(data, tmp_path)
    assert done == 1
    assert_same(model, unbroken[1])


def test_a_run_that_is_stopped_at_the_last_step_of_an_epoch_ends_the_epoch(
    data, tmp_path, unbroken
):
    stop = StopRequest()
    with pytest.raises(StoppedError, match=f"after step {STEPS}; "):
        trained(data, tmp_path, stop=stop, also=[AskToStop(stop, STEPS)])
    assert metrics_of(tmp_path) == metrics_of(unbroken[0])[:1]
    done, model = trained(data, tmp_path)
    assert done == STEPS
    assert_same(model, unbroken[1])
    assert metrics_of(tmp_path) == metrics_of(unbroken[0])


class Small:
    """As much of a model as a checkpoint needs.

    Its one weight tells the step at which it was kept.
    """

    def __init__(self):
        self.weight = keras.Variable(np.zeros((50, 20), np.float32), name="weight")
        self.steps = keras.Variable(0, dtype="int64", trainable=False, name="steps")
        self.variables = [self.weight, self.steps]
        self.trainable_variables = [self.weight]
        self.optimizer = SimpleNamespace(variables=[])
        self.head = SimpleNamespace(table=None)
        self.distribute_strategy = tf.distribute.get_strategy()


def small(folder: Path, kept: int = 2) -> Checkpoints:
    return Checkpoints(Small(), folder, steps_per_epoch=4, kept=kept)  # pyright: ignore[reportArgumentType]


def step_to(checkpoints: Checkpoints, *steps: int) -> None:
    for step in steps:
        checkpoints.step = step
        checkpoints.trained.steps.assign(step)
        checkpoints.trained.weight.assign(np.full((50, 20), step, np.float32))
        checkpoints.save()


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


INDEX, DATA = "ckpt.index", "ckpt.data-00000-of-00001"


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES = [
    (damage, name) for name in (INDEX, DATA) for damage in (cut_off, flipped, emptied, Path.unlink)
]
by_damage = pytest.mark.parametrize(("damage", "name"), DAMAGES)


@by_damage
def test_where_the_newest_checkpoint_is_damaged_the_one_before_is_taken(
    tmp_path, capsys, damage, name
):
    step_to(small(tmp_path), 4, 8)
    damage(tmp_path / "checkpoints/ckpt-8" / name)
    before = files_of(tmp_path)
    again = small(tmp_path)
    assert again.restore() == 4
    assert again.trained.weight.numpy()[0, 0] == 4
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1
    assert said[0].startswith(
        f"{tmp_path}/checkpoints/ckpt-8/ckpt: this checkpoint cannot be read ("
    )
    assert said[0].endswith("); going on from the one before it, of step 4")
    assert again.last_good() == f"the last good checkpoint is {tmp_path}/checkpoints/ckpt-4"
    assert files_of(tmp_path) == before
    step_to(again, 6)  # another one, and the damaged one does not count as one of the two
    assert names(tmp_path) == ["ckpt-4", "ckpt-6"]
    step_to(again, 8)
    assert names(tmp_path) == ["ckpt-6", "ckpt-8"]
    assert small(tmp_path).restore() == 8


@by_damage
def test_a_damaged_checkpoint_is_replaced_by_the_same_step_done_again(tmp_path, damage, name):
    step_to(small(tmp_path), 4, 8)
    damage(tmp_path / "checkpoints/ckpt-8" / name)
    again = small(tmp_path)
    again.restore()
    step_to(again, 8)
    assert names(tmp_path) == ["ckpt-4", "ckpt-8"]
    assert small(tmp_path).restore() == 8


@by_damage
def test_where_no_checkpoint_can_be_read_nothing_is_begun_anew_or_removed(tmp_path, damage, name):
    step_to(small(tmp_path), 4, 8)
    for step in (4, 8):
        damage(tmp_path / f"checkpoints/ckpt-{step}" / name)
    before = files_of(tmp_path)
    with pytest.raises(
        InputError, match=r"no checkpoint can be read, and none was removed \(.*ckpt-8/ckpt: .*"
    ) as error:
        small(tmp_path).restore()
    assert f"or remove {tmp_path}/checkpoints to begin the training anew" in str(error.value)
    assert len(str(error.value).splitlines()) == 2
    assert files_of(tmp_path) == before


def test_a_whole_folder_that_was_lost_is_the_one_before(tmp_path):
    step_to(small(tmp_path), 4, 8)
    shutil.rmtree(tmp_path / "checkpoints/ckpt-8")
    assert small(tmp_path).restore() == 4


@pytest.mark.parametrize(
    "content", [b"", b'model_checkpoint_path: "ckpt-1', bytes(range(256)), None]
)
def test_checkpoints_of_an_earlier_version_are_gone_on_from_whatever_their_list_says(
    tmp_path, content
):
    """TensorFlow's manager keeps a list of them, `checkpoint`: damaged, it hid them all."""
    first = small(tmp_path)
    manager = tf.train.CheckpointManager(first.checkpoint, str(tmp_path / "checkpoints"), 2)
    for step in (4, 8):
        first.trained.steps.assign(step)
        first.trained.weight.assign(np.full((50, 20), step, np.float32))
        manager.save(checkpoint_number=step)
    listed = tmp_path / "checkpoints/checkpoint"
    listed.unlink() if content is None else listed.write_bytes(content)
    again = small(tmp_path)
    assert again.restore() == 8
    assert again.trained.weight.numpy()[0, 0] == 8
    step_to(again, 12)
    assert {"ckpt-8.index", "ckpt-12"} <= set(names(tmp_path))
    assert "ckpt-4.index" not in names(tmp_path)
    cut_off(tmp_path / "checkpoints/ckpt-12" / INDEX)
    assert small(tmp_path).restore() == 8


def test_the_one_before_is_removed_only_when_the_new_one_was_read_again(tmp_path, monkeypatch):
    written = tf.train.Checkpoint.write

    def badly(self, prefix: str):
        written(self, prefix)
        flipped(Path(f"{prefix}.data-00000-of-00001"))

    checkpoints = small(tmp_path, kept=1)
    step_to(checkpoints, 4)
    before = files_of(tmp_path)
    monkeypatch.setattr(tf.train.Checkpoint, "write", badly)
    with pytest.raises(
        InputError,
        match=r"no checkpoint could be written \(what was written cannot be read.*ckpt-4\. ",
    ):
        step_to(checkpoints, 8)
    assert files_of(tmp_path) == before
    monkeypatch.undo()
    step_to(checkpoints, 8)
    assert names(tmp_path) == ["ckpt-8"]


def test_what_was_half_written_when_the_run_was_killed_is_no_checkpoint(tmp_path):
    step_to(small(tmp_path), 4)
    (tmp_path / "checkpoints/.ckpt-6.partial").mkdir()
    (tmp_path / "checkpoints/.ckpt-6.partial" / DATA).write_bytes(b"half")
    again = small(tmp_path)
    assert again.restore() == 4
    step_to(again, 8)
    assert names(tmp_path) == ["ckpt-4", "ckpt-8"]
    (tmp_path / "first/checkpoints/.ckpt-4.partial").mkdir(parents=True)
    assert small(tmp_path / "first").restore() == 0


def test_what_is_no_checkpoint_is_left_alone(tmp_path):
    first = small(tmp_path, kept=1)
    others = ["ckpt-mine", "notes.txt", "worker-1"]
    for name in others:
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    step_to(first, 4, 8)
    assert names(tmp_path) == sorted([*others, "ckpt-8"])


def test_a_run_with_a_damaged_checkpoint_ends_bit_for_bit_as_an_unbroken_one(
    data, tmp_path, unbroken
):
    trained(data, tmp_path, killed_after=2 * STEPS + 1)
    cut_off(tmp_path / f"checkpoints/ckpt-{2 * STEPS}" / DATA)
    done, broken = trained(data, tmp_path)
    assert done == STEPS
    assert_same(broken, unbroken[1])


def test_a_checkpoint_of_another_training_is_told(data, tmp_path):
    step_to(small(tmp_path), 4)
    with pytest.raises(InputError, match="ckpt-4/ckpt: this checkpoint is not of this training"):
        trained(data, tmp_path)


def test_weights_that_are_no_numbers_are_not_kept(data, tmp_path):
    recipe = replace(counting_recipe(), learning_rate=1e20, head="softmax")
    with pytest.raises(
        InputError, match="a weight is not a finite number; there is no checkpoint yet"
    ):
        trained(data, tmp_path, recipe=recipe)
    assert not list(tmp_path.glob("checkpoints/*"))


def test_only_the_last_checkpoints_are_kept(unbroken):
    assert names(unbroken[0]) == [f"ckpt-{3 * STEPS}", f"ckpt-{4 * STEPS}"]


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
