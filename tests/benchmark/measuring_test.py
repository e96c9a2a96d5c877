import json

import pytest

from bct_keras.benchmark.measuring import seconds_per_step
from bct_keras.errors import InputError


def write(folder, *epochs: tuple[int, float]) -> None:
    lines = [
        json.dumps({"epoch": n, "steps": steps, "seconds": s})
        for n, (steps, s) in enumerate(epochs, 1)
    ]
    (folder / "times.jsonl").write_text("\n".join(lines) + "\n")


def test_the_first_epoch_in_which_the_step_is_traced_does_not_count(tmp_path):
    write(tmp_path, (4, 20.0), (4, 2.0), (4, 6.0))
    assert seconds_per_step(tmp_path) == 1.0  # 8 seconds for 8 steps


def test_of_one_epoch_it_does(tmp_path):
    write(tmp_path, (4, 20.0))
    assert seconds_per_step(tmp_path) == 5.0


def test_a_run_without_times_has_no_cost(tmp_path):
    assert seconds_per_step(tmp_path) is None


def test_times_that_cannot_be_read(tmp_path):
    (tmp_path / "times.jsonl").write_text("{")
    said = r"times\.jsonl, line 1 cannot be read as JSON: .*; remove .* and it is trained again"
    with pytest.raises(InputError, match=said):
        seconds_per_step(tmp_path)
