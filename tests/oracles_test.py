"""One file of each kind of the released code's values; tests/check_oracles.py takes a folder with
all of them.
"""

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


def test_where_theirs_is_no_number_ours_has_only_to_be_one(command):
    difference, theirs = command["difference"], np.array([1.0, np.nan, -2.0])
    assert difference(np.array([1.0, 5.0, -2.0]), theirs) == 0.0
    assert difference(np.array([1.5, 5.0, -2.0]), theirs) == 0.25
    assert difference(np.array([1.0, np.inf, -2.0]), theirs) == np.inf
    assert not difference(np.array([np.nan, 5.0, -2.0]), theirs) < np.inf
    assert difference(np.ones(2), np.full(2, np.nan)) == 0.0


def test_gradients_of_the_released_arcface_that_are_no_numbers_are_passed(tmp_path, command):
    """At |cos| = 1 it differentiates the root of 0: the row and its class may be NaN, on one
    processor or another.
    """
    with np.load(TESTS / "golden" / "arcface_exact.npz") as file:
        stored = dict(file)
    inputs = {"embeddings", "weights", "labels"}
    named = {
        key if key in inputs else f"arcface_exact/{key}": values for key, values in stored.items()
    }
    cosine = np.sum(unit(stored["embeddings"]) * unit(stored["weights"])[stored["labels"]], axis=1)
    row = int(np.argmax(np.abs(cosine)))
    assert 1 - abs(cosine[row]) < 1e-6
    named["arcface_exact/d_embeddings"][row] = np.nan
    named["arcface_exact/d_weights"][stored["labels"][row]] = np.nan
    np.savez(tmp_path / "heads_0.npz", **named)
    assert command["main"](tmp_path) == 0
    named["arcface_exact/d_embeddings"][row - 1] *= 2
    np.savez(tmp_path / "heads_0.npz", **named)
    assert command["main"](tmp_path) == 1


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_files_of_methods_that_are_not_here_are_named_and_pass(tmp_path, command, capsys):
    np.savez(tmp_path / "bt2_0.npz", released=np.zeros(1))
    assert command["main"](tmp_path) == 0
    assert capsys.readouterr().out == "bt2_0.npz: not compared, BT2 is no method of ours\n"
    np.savez(tmp_path / "unheard_0.npz", released=np.zeros(1))
    assert command["main"](tmp_path) == 1


def test_a_wrong_value_and_a_key_that_nobody_checks_are_told(tmp_path, command, capsys):
    with np.load(TESTS / "golden" / "oracles" / "pairwise_2.npz") as file:
        stored = dict(file)
    stored["l2_threshold_0.2/loss"] = stored["l2_threshold_0.2/loss"] * np.float32(1.001)
    np.savez(tmp_path / "pairwise_2.npz", **stored, **{"l2_threshold_0.2/d_old": stored["new"]})
    assert command["main"](tmp_path) == 1
    unchecked, wrong = capsys.readouterr().err.splitlines()
    assert unchecked == "pairwise_2.npz: l2_threshold_0.2/d_old: not checked"
    assert wrong.startswith(
        "pairwise_2.npz: l2_threshold_0.2/loss: 9.99e-04 of the largest value, allowed 1e-05"
    )
