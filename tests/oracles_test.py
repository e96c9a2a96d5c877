"""One file of each kind of the released code's values; tests/check_oracles.py takes a folder with all of them."""

import runpy
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).parent
GOLDEN = sorted((TESTS / "golden" / "oracles").glob("*.npz"))


@pytest.fixture(scope="module")
def command():
    return runpy.run_path(str(TESTS / "check_oracles.py"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_ours_are_the_released_codes_values(path, command):
    assert command["failures"](path) == []


def test_a_wrong_value_and_a_key_that_nobody_checks_are_told(tmp_path, command, capsys):
    with np.load(TESTS / "golden" / "oracles" / "pairwise_2.npz") as file:
        stored = dict(file)
    stored["l2_threshold_0.2/loss"] = stored["l2_threshold_0.2/loss"] * np.float32(1.001)
    np.savez(tmp_path / "pairwise_2.npz", **stored, **{"l2_threshold_0.2/d_old": stored["new"]})
    assert command["main"](tmp_path) == 1
    unchecked, wrong = capsys.readouterr().err.splitlines()
    assert unchecked == "pairwise_2.npz: l2_threshold_0.2/d_old: not checked"
    assert wrong.startswith("pairwise_2.npz: l2_threshold_0.2/loss: 9.99e-04 of the largest value, allowed 1e-05")
