import json
from types import SimpleNamespace
from typing import Any

import pytest

from bct_keras.callbacks.watching import FiniteLoss, MetricsFile, TimesFile, TrainingProgress
from bct_keras.errors import InputError


def model(steps: int = 3, dropped: int = 0, drop: bool = False) -> Any:
    """Returns what the callbacks ask of a model."""

    def counter(value):
        return SimpleNamespace(numpy=lambda: value)

    return SimpleNamespace(
        steps=counter(steps),
        dropped=counter(dropped),
        drop_not_finite=drop,
        optimizer=SimpleNamespace(learning_rate=0.0125),
    )


def test_progress_says_a_line_for_each_epoch_where_nobody_watches(capsys):
    progress = TrainingProgress(model(), epochs=3, steps_per_epoch=2, first_step=2, batch_size=8)
    progress.on_epoch_begin(1)
    for step in range(2):
        progress.on_train_batch_end(step, {"loss": 1.0})
    logs = {"loss": 1.23456, "mixed_rows": 2.0, "val old/old top-1": 0.5, "val new/old top-1": 0.75}
    progress.on_epoch_end(1, logs)
    progress.on_train_end()
    printed = capsys.readouterr()
    (line,) = printed.out.splitlines()
    assert line.startswith(
        "epoch 2/3: loss 1.235, mixed_rows 2, val new/old top-1 0.75, learning rate 0.0125, "
    )
    assert line.endswith(" images/s")
    assert printed.err == ""


def test_progress_says_a_line_now_and_then_within_a_long_epoch(capsys, monkeypatch):
    progress = TrainingProgress(model(), epochs=1, steps_per_epoch=1000, first_step=0, batch_size=8)
    progress.on_epoch_begin(0)
    progress.on_train_batch_end(0, {"loss": 1.0})
    assert capsys.readouterr().out == ""
    progress.line_at = 0.0  # a minute later
    progress.on_train_batch_end(1, {"loss": 1.0})
    progress.on_train_batch_end(2, {"loss": 1.0})
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("step 2/1,000: loss 1, learning rate 0.0125, ")
    assert line.endswith(" min left")


def test_progress_tells_of_a_long_first_step_which_counts_in_no_rate(capsys):
    progress = TrainingProgress(model(), epochs=1, steps_per_epoch=1000, first_step=0, batch_size=8)
    progress.on_epoch_begin(0)
    progress.started -= 24.0
    progress.on_train_batch_end(0, {"loss": 1.0})
    (line,) = capsys.readouterr().out.splitlines()
    assert line == "first step, for which the network is compiled: 24 s"
    progress.on_train_batch_end(1, {"loss": 1.0})
    assert progress.steps_per_second() > 1.0


def test_metrics_of_an_epoch_that_is_done_again_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1, "loss": 5.0}\n{"epoch": 2, "loss": 7.0}\n')
    MetricsFile(path, epochs_done=1).on_epoch_end(1, {"loss": 4.0})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"epoch": 1, "loss": 5.0},
        {"epoch": 2, "loss": 4.0},
    ]


def test_the_time_of_an_epoch_has_all_since_the_one_before(tmp_path, monkeypatch):
    clock = iter([10.0, 13.0, 13.5, 20.5, 21.0])
    monkeypatch.setattr("bct_keras.callbacks.watching.time.monotonic", lambda: next(clock))
    times = TimesFile(tmp_path / "times.jsonl")
    times.on_train_begin()
    for epoch, steps in enumerate((3, 2)):
        for step in range(steps):
            times.on_train_batch_end(step)
        times.on_epoch_end(epoch)
    assert [json.loads(line) for line in (tmp_path / "times.jsonl").read_text().splitlines()] == [
        {"epoch": 1, "steps": 3, "seconds": 3.0},
        {"epoch": 2, "steps": 2, "seconds": 7.0},
    ]


def test_a_loss_that_is_no_number_names_the_step_its_records_and_the_last_good_checkpoint():
    asked = []

    def ids(step: int) -> list[str]:
        asked.append(step)
        return [f"a/{index}.png" for index in range(10)]

    watch = FiniteLoss(model(steps=3), 10, ids, lambda: "the last good checkpoint is ckpt-2")
    watch.on_train_batch_end(2, {"loss": 1.0})
    with pytest.raises(InputError) as raised:
        watch.on_train_batch_end(2, {"loss": float("nan")})
    assert asked == [2]  # the third step is number 2
    first, second = str(raised.value).splitlines()
    assert first.startswith("the loss is nan in step 3; the last good checkpoint is ckpt-2; ")
    assert (
        second
        == "its records: " + ", ".join(f"a/{index}.png" for index in range(8)) + " and 2 more"
    )


def test_too_many_dropped_steps_end_the_run():
    def watch(dropped: int) -> FiniteLoss:
        return FiniteLoss(
            model(dropped=dropped, drop=True), 2, lambda step: ["x"], lambda: "there is none"
        )

    watch(2).on_train_batch_end(0, {"loss": 1.0})
    with pytest.raises(
        InputError,
        match="3 steps had a loss or a gradient that is no finite number, and 2 may be drop",
    ):
        watch(3).on_train_batch_end(0, {"loss": 1.0})


def test_dropped_steps_are_in_the_metrics_of_a_run_that_may_drop_some():
    for drop, expected in ((True, {"loss": 1.0, "dropped_steps": 2}), (False, {"loss": 1.0})):
        logs = {"loss": 1.0}
        FiniteLoss(model(dropped=2, drop=drop), 10, lambda step: ["x"], lambda: "").on_epoch_end(
            0, logs
        )
        assert logs == expected
