import itertools
import json
from typing import Any

import keras
import numpy as np
import pytest

from bct_keras import specs
from bct_keras.errors import InputError
from bct_keras.schedules import SCHEDULES


def rates(
    spec: str, learning_rate: float = 0.4, epochs: int = 10, steps_per_epoch: int = 4
) -> list[float]:
    """Of every step of a run, and of the one after it."""
    steps = epochs * steps_per_epoch
    schedule = specs.build(
        SCHEDULES,
        spec,
        learning_rate=learning_rate,
        steps=steps,
        steps_per_epoch=float(steps_per_epoch),
    )
    return [float(schedule(step)) for step in range(steps + 1)]


@pytest.mark.parametrize("name", ["polynomial", "cosine"])
def test_schedules_start_at_the_rate_and_end_at_0(name):
    found = rates(name)
    assert found[0] == pytest.approx(0.4)
    assert found[40] == pytest.approx(0.0, abs=1e-8)
    assert all(later < earlier for earlier, later in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("polynomial", 0.4 * (1 - 10 / 40)),
        ("polynomial(power=2)", 0.4 * (1 - 10 / 40) ** 2),
        ("cosine", 0.4 * (1 + np.cos(np.pi * 10 / 40)) / 2),
        # 4 steps of warm-up leave 36: the 10th step is the 6th of those
        ("polynomial(warm_up=1)", 0.4 * (1 - 6 / 36)),
        ("cosine(warm_up=1)", 0.4 * (1 + np.cos(np.pi * 6 / 36)) / 2),
    ],
)
def test_rate_after_10_steps_of_40(spec, expected):
    assert rates(spec)[10] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "spec", ["polynomial(warm_up=1)", "cosine(warm_up=1)", "step(epochs=(2, 5), warm_up=1)"]
)
def test_warm_up_is_a_line_up_to_the_rate(spec):
    # 1 epoch of 4 steps: 1/4, 2/4, 3/4 and all of 0.4; the first step after it has the full rate
    # too
    assert rates(spec)[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])


def test_step_multiplies_the_rate_when_an_epoch_has_passed():
    found = rates("step(epochs=(2, 5), factor=0.1)")
    # epochs 0 and 1 are steps 0..7, epochs 2 to 4 steps 8..19
    assert found == pytest.approx([0.4] * 8 + [0.04] * 12 + [0.004] * 21)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("step(epochs=(5, 2))", r"epochs=\(5, 2\) of step have to be numbers above 0"),
        ("step(epochs=('a',))", r"epochs=\('a',\) of step have to be numbers"),
        ("polynomial(warm_up=10)", "warm_up=10 epochs have to be .* fewer than the run has"),
        ("cosine(warm_up=-1)", "warm_up=-1 epochs have to be at least 0"),
    ],
)
def test_what_makes_no_schedule_is_refused(spec, said):
    with pytest.raises(InputError, match=said):
        rates(spec)


@pytest.mark.parametrize(
    "spec", ["polynomial(power=2, warm_up=1)", "cosine(warm_up=1)", "step(epochs=(2, 5))"]
)
def test_a_schedule_made_from_its_config_has_the_same_rates(spec):
    schedule = specs.build(SCHEDULES, spec, learning_rate=0.4, steps=40, steps_per_epoch=4.0)
    written = json.dumps(keras.saving.serialize_keras_object(schedule))
    again: Any = keras.saving.deserialize_keras_object(json.loads(written))
    assert [float(again(step)) for step in range(41)] == rates(spec)
