"""Runs tests/simulate_verdict.py for a short time.

The same seeds give the same samples, so nothing here is left to chance.
"""

import runpy
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.long  # hundreds of samples

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "simulate_verdict.py"))
Case, simulate = SCRIPT["Case"], SCRIPT["simulate"]


@pytest.fixture(scope="module")
def equal() -> list[dict]:
    random = np.random.default_rng(0)
    case = Case("equal", 50, 1.0, 1.0)
    return [SCRIPT["judged"](*SCRIPT["sample"](random, case))[0] for _ in range(200)]


@pytest.mark.parametrize(
    "metric", ["TAR@FAR=1e-2", "TAR@FAR=1e-3", "top-1", "mAP", "TPIR@FPIR=1e-1"]
)
def test_the_errors_are_as_large_as_the_gains_vary(equal, metric):
    gains = [result["gain"][metric] for result in equal]
    error = np.sqrt(np.mean([result["error"][metric] ** 2 for result in equal]))
    # 200 samples tell a standard deviation to 5 %.
    assert 0.87 < error / np.std(gains) < 1.17


def test_equal_encoders_are_seldom_called_compatible():
    *_, verdicts = simulate(Case("equal", 50, 1.0, 1.0), trials=100)
    assert verdicts["verdicts"].get("compatible", 0.0) <= 0.05
    assert verdicts["verdicts"].get("not compatible", 0.0) <= 0.05


def test_a_better_encoder_is_called_compatible():
    *_, verdicts = simulate(Case("better", 200, 1.0, 0.78), trials=25)
    assert verdicts["verdicts"].get("compatible", 0.0) >= 0.7
    assert verdicts["verdicts"].get("not compatible", 0.0) == 0.0


def test_near_the_ceiling_intervals_have_a_width():
    lines = list(simulate(Case("ceiling", 50, 0.3, 0.15, dims=48), trials=60))[:-1]
    assert all(line["cover"] >= 0.85 for line in lines)
    assert any(line["old"] > 0.97 for line in lines)
