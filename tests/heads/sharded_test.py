"""Tests heads over several logical devices.

Each number of devices has a process of its own, see trained_head.py.
"""

import sys
from pathlib import Path

import forked
import numpy as np
import pytest
import tensorflow as tf

from bct_keras.errors import InputError
from bct_keras.heads.class_table import spans_of

sys.path.insert(0, str(Path(__file__).parent))
from trained_head import trained

pytestmark = pytest.mark.seconds(15)

HERE = Path(__file__).parent

SPECS = {
    "arcface": "arcface(sharded=true)",
    "centres": "subcenter_arcface(centres=2, label_smoothing=0.1, sharded=true)",
    "magface": "magface(lengths=(0.1, 3), sharded=true)",
    # All of them are drawn: 0.99 of 31 classes, or of a shard's, is rounded up.
    "drawn": "arcface(sharded=true, sample_rate=0.99)",
    "some": "arcface(sample_rate=0.9)",
    "resumed": "arcface(sharded=true)",
}
RUNS = {
    2: ("arcface", "centres", "some", "resumed"),
    3: ("arcface", "magface", "drawn", "resumed"),
    5: ("arcface",),
}
UNSHARDED = {
    **{
        name: spec.replace(", sharded=true", "").replace("sharded=true", "")
        for name, spec in SPECS.items()
    },
    "drawn": "arcface",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Returns what 2, 3 and 5 devices learned; `resumed` stops on 2 halfway, goes on on 3."""
    made = tmp_path_factory.mktemp("sharded")
    for devices, names in RUNS.items():
        arguments = [str(devices), str(made), *(f"{name}={SPECS[name]}" for name in names)]
        done = forked.run(HERE / "trained_head.py", *arguments)
        assert done.returncode == 0, done.stderr[-3000:]
    return made


@pytest.mark.long
@pytest.mark.long
@pytest.mark.parametrize("name", SPECS)
def test_several_devices_learn_what_one_does(folder, name):
    """Compares after 10 steps, 31 classes on 2, 3 or 5 devices, and one that moved from 2 to 3."""
    expected = trained(UNSHARDED[name], tf.distribute.get_strategy())
    for devices in (devices for devices, names in RUNS.items() if name in names):
        if (name, devices) == ("resumed", 2):
            continue
        with np.load(folder / f"{name}-{devices}.npz") as found:
            assert set(found) == set(expected)
            for key, values in expected.items():
                np.testing.assert_allclose(
                    found[key], values, rtol=1e-5, atol=1e-5, err_msg=f"{devices} {key}"
                )


@pytest.mark.parametrize(
    ("devices", "spans"),
    [
        (1, [(0, 7)]),
        (2, [(0, 4), (4, 7)]),
        (3, [(0, 3), (3, 5), (5, 7)]),
        (7, [(i, i + 1) for i in range(7)]),
    ],
)
def test_classes_are_divided_evenly(devices, spans):
    assert spans_of(7, devices) == spans


def test_more_devices_than_classes_are_refused():
    with pytest.raises(InputError, match="sharded=true cannot divide 7 classes over 8 devices"):
        spans_of(7, 8)
