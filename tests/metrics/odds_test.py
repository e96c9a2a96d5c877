import json
from statistics import NormalDist

import numpy as np
import pytest

from bct_keras.errors import InputError
from bct_keras.metrics.calibration import Calibration
from bct_keras.metrics.odds import LEAST_RISE, Odds


def normal(mean: float, spread: float, count: int, seed: int) -> np.ndarray:
    return mean + spread * np.random.default_rng(seed).normal(size=count)


def test_log_odds_are_those_of_both_shares():
    odds = Odds.of_pairs(normal(0.4, 0.15, 50_000, 0), normal(0.0, 0.1, 50_000, 1))
    for cosine in (0.1, 0.15, 0.2):
        tar = 1 - NormalDist(0.4, 0.15).cdf(cosine)
        far = 1 - NormalDist(0.0, 0.1).cdf(cosine)
        assert odds.log_odds(np.array(cosine)) == pytest.approx(np.log(tar / far), abs=0.15)


def test_they_rise_everywhere_and_hardly_where_nothing_is_told():
    for odds in (
        Odds.of_pairs(normal(0.4, 0.05, 500, 0), normal(0.0, 0.1, 5_000, 1)),
        Odds.of_pairs(normal(0.0, 0.1, 500, 0), normal(0.0, 0.1, 5_000, 1)),
    ):
        values = odds.log_odds(np.linspace(-1.0, 1.0, 301))
        assert np.all(np.diff(values) >= 0.9 * LEAST_RISE * 2 / 300)
    useless = Odds.of_pairs(normal(0.0, 0.1, 5_000, 0), normal(0.0, 0.1, 5_000, 1))
    assert abs(float(useless.log_odds(np.array(0.2)))) < 1.0


def test_facts_are_a_calibration_with_the_genuine_pairs_beside_it():
    odds = Odds.of_pairs(normal(0.4, 0.15, 500, 0), normal(0.0, 0.1, 500, 1))
    facts = json.loads(json.dumps(odds.facts()))
    cosines = np.linspace(-1, 1, 50)
    assert np.array_equal(Odds.from_facts(facts).log_odds(cosines), odds.log_odds(cosines))
    calibration = Calibration.from_facts(facts)
    assert np.array_equal(calibration.rate(cosines), odds.impostors.rate(cosines))
    with pytest.raises(InputError, match="genuine"):
        Odds.from_facts(odds.impostors.facts())
