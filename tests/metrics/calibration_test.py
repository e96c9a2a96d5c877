import json
from statistics import NormalDist

import numpy as np
import pytest

from bct_keras.data.embeddings import normalised
from bct_keras.errors import InputError
from bct_keras.metrics.calibration import POINTS, Calibration
from bct_keras.metrics.search import search
from bct_keras.metrics.verification import Embedded


def normal_scores(count: int, mean: float, spread: float, seed: int = 0) -> np.ndarray:
    return mean + spread * np.random.default_rng(seed).normal(size=count)


def exact_rate(cosine: float, mean: float, spread: float) -> float:
    return 1.0 - NormalDist(mean, spread).cdf(cosine)


def test_a_rate_is_the_share_of_impostors_that_score_as_high():
    impostors = normal_scores(100_000, mean=0.1, spread=0.12)
    calibration = Calibration.of_impostors(impostors)
    cosines = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    shares = [np.mean(impostors >= cosine) for cosine in cosines]
    # Each straight line covers a sixth of a tenfold.
    assert calibration.rate(cosines) == pytest.approx(shares, rel=0.05)
    exact = [exact_rate(cosine, 0.1, 0.12) for cosine in cosines]
    assert calibration.rate(cosines) == pytest.approx(exact, rel=0.15)


def test_scores_of_two_spaces_are_ranked_by_how_rare_they_are():
    # The same impostors, in a space that is twice as wide and moved: cosine -> 2 cosine - 0.1.
    impostors = normal_scores(50_000, mean=0.1, spread=0.1)
    narrow = Calibration.of_impostors(impostors)
    wide = Calibration.of_impostors(2 * impostors - 0.1)
    cosines = np.array([0.05, 0.2, 0.35, 0.45, 0.5])
    assert wide.rate(2 * cosines - 0.1) == pytest.approx(narrow.rate(cosines), rel=0.05)
    # A cosine of 0.6 is rarer in the narrow space than one of 0.7 in the wide one.
    assert narrow.rate(np.array(0.6)) < wide.rate(np.array(0.7))


def test_no_two_cosines_tie_beyond_what_was_measured():
    calibration = Calibration.of_impostors(normal_scores(5_000, mean=0.0, spread=0.1))
    cosines = np.linspace(-1.0, 1.0, 2_001)
    assert np.all(np.diff(calibration.rate(cosines)) < 0)
    assert calibration.rate(np.array([-1.0])) == 1.0
    # Between two logarithms the line is straight: 0.5 further down the same factor again.
    beyond = calibration.log_rate(np.array([0.5, 0.6, 0.7]))
    assert beyond[2] - beyond[1] == pytest.approx(beyond[1] - beyond[0])


def test_beyond_the_strongest_the_rate_falls_as_over_the_last_tenfold():
    calibration = Calibration(
        np.array([-1.0, 0.0, 0.2, 0.3, 0.4]), np.array([1.0, 0.1, 1e-2, 5e-3, 1e-3])
    )
    # From 1e-2 at 0.2 to 1e-3 at 0.4: a tenfold each 0.2.
    assert calibration.rate(np.array([0.6, 0.8])) == pytest.approx([1e-4, 1e-5])


def test_a_search_gives_the_calibration_of_all_its_impostors():
    random = np.random.default_rng(3)
    query, gallery = (
        Embedded(normalised(random.normal(size=(rows, 8))), random.integers(0, 30, rows))
        for rows in (200, 300)
    )
    same = query.labels[:, None] == gallery.labels
    impostors = (query.embeddings @ gallery.embeddings.T)[~same]
    found = search(query, gallery, highest_far=1e-2)
    calibration = Calibration.of_verification(found.verification)
    assert len(calibration.cosines) <= POINTS
    cosines = np.array([0.0, 0.2, 0.4, 0.6, 0.8])
    shares = [np.mean(impostors >= cosine) for cosine in cosines]
    assert calibration.rate(cosines) == pytest.approx(shares, rel=0.03)


def test_facts_give_the_same_calibration_again():
    calibration = Calibration.of_impostors(normal_scores(1_000, mean=0.0, spread=0.2))
    facts = json.loads(json.dumps(calibration.facts()))
    assert len(facts["cosines"]) <= POINTS
    again = Calibration.from_facts(facts)
    cosines = np.linspace(-1, 1, 99)
    assert np.array_equal(again.rate(cosines), calibration.rate(cosines))


@pytest.mark.parametrize("impostors", [[0.3], [0.2, 0.2, 0.2], [-1.0, 1.0], [0.1, 0.2, 0.3]])
def test_few_or_equal_impostors_still_rank(impostors):
    calibration = Calibration.of_impostors(np.array(impostors))
    assert np.all(np.diff(calibration.rate(np.linspace(-1.0, 1.0, 50))) < 0)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"cosines": [0.1], "rates": [0.1]},
        {"cosines": [0.1, 0.2], "rates": [0.5]},
        {"cosines": [0.2, 0.1], "rates": [0.5, 0.1]},
        {"cosines": [0.1, 0.2], "rates": [0.1, 0.5]},
        {"cosines": [0.1, 0.2], "rates": [0.5, 0.0]},
        {"cosines": [0.1, 0.2], "rates": [0.5, None]},
        {"cosines": [0.1, float("nan")], "rates": [0.5, 0.1]},
        {"cosines": "many", "rates": "few"},
        {"cosines": [[0.1, 0.2]], "rates": [[0.5, 0.1]]},
    ],
)
def test_damaged_facts_are_refused(facts):
    with pytest.raises(InputError, match="calibration"):
        Calibration.from_facts(facts)


def test_without_impostors_there_is_no_calibration():
    with pytest.raises(InputError, match="pairs of two identities"):
        Calibration.of_impostors(np.array([]))
    with pytest.raises(InputError, match="two points"):
        Calibration.of_impostors(np.array([-1.0, -1.0]))
