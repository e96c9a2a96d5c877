"""Rates within groups and the equal error rate, against scikit-learn and what is known."""

import doctest

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_curve

from bct_keras.metrics import groups
from bct_keras.metrics.groups import equal_error, group_rates
from bct_keras.metrics.search import search
from bct_keras.metrics.verification import Embedded
from bct_keras.vectors import normalised


def embedded(noise: float, seed: int, identities: int = 40) -> Embedded:
    labels = np.repeat(np.arange(identities), 8)
    people = np.random.default_rng(9).normal(size=(identities, 12))
    spread = noise * np.random.default_rng(seed).normal(size=(len(labels), 12))
    return Embedded(normalised(people[labels] + spread).astype(np.float32), labels)


def test_the_examples_run():
    assert doctest.testmod(groups).failed == 0


def test_rates_of_a_group_are_those_of_sklearn():
    query, gallery = embedded(1.0, 1), embedded(1.0, 2)
    found = group_rates(query, gallery, threshold=0.4)
    scores = (query.embeddings @ gallery.embeddings.T).ravel()
    same = (query.labels[:, None] == gallery.labels).ravel()
    (rejected, false), (missed, hit) = confusion_matrix(same, scores > 0.4)
    assert found.tar == hit / (hit + missed)
    assert found.fmr == false / (false + rejected)
    assert (found.identities, found.queries, found.images) == (40, 320, 320)
    assert (found.genuine_pairs, found.impostor_pairs) == (hit + missed, false + rejected)
    assert found.interval
    assert found.interval[0] < found.tar < found.interval[1]
    # 99,840 impostor pairs: ten would be accepted at 1e-4, and not at 1e-5.
    assert not found.is_too_small(1.1e-4)
    assert found.is_too_small(1e-5)
    assert group_rates(embedded(1, 1, 29), embedded(1, 2, 29), 0.4).is_too_small(1e-2)


def test_the_interval_holds_the_truth_in_95_of_100_samples():
    # Of each identity 8 pairs, accepted with a chance of its own, in the mean 0.6.
    random = np.random.default_rng(0)
    units = np.repeat(np.arange(60), 8)
    held = 0
    for _ in range(400):
        chance = random.beta(3, 2, size=60)
        hits = random.random(480) < chance[units]
        low, high = groups.interval_of_mean(hits, units)  # pyright: ignore
        held += low < 0.6 < high
    assert 0.92 < held / 400 < 0.98


def equal_error_of_sklearn(scores: np.ndarray, same: np.ndarray) -> float:
    """The rate where scikit-learn's curve has as many false accepts as false rejects."""
    fpr, tpr, _ = roc_curve(same.ravel(), scores.ravel(), drop_intermediate=False)
    crossing = np.argmin(np.abs(fpr - (1 - tpr)))
    return (fpr[crossing] + 1 - tpr[crossing]) / 2


def test_the_equal_error_rate_of_a_search_is_that_of_its_scores():
    query, gallery = embedded(1.2, 1), embedded(1.2, 2)
    found = equal_error(search(query, gallery, 1e-2).verification)
    scores = query.embeddings @ gallery.embeddings.T
    same = query.labels[:, None] == gallery.labels
    exact = equal_error_of_sklearn(scores, same)
    assert found["rate"] == pytest.approx(exact, rel=0.02)
    assert np.mean(scores[~same] > found["threshold"]) == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("noise", [2.5, 4.0])
def test_so_it_is_where_impostors_lie_close_together(noise):
    # In 512 dimensions the impostors' cosines spread by 0.044, and a bin of the histogram is 0.02.
    labels = np.repeat(np.arange(150), 6)
    random = np.random.default_rng(0)
    rows = random.normal(size=(150, 512))[labels] + noise * random.normal(size=(900, 512))
    units = normalised(rows).astype(np.float32)
    is_query = np.arange(900) % 6 >= 3
    query = Embedded(units[is_query], labels[is_query])
    gallery = Embedded(units[~is_query], labels[~is_query])
    found = equal_error(search(query, gallery, 1e-2).verification)
    same = query.labels[:, None] == gallery.labels
    exact = equal_error_of_sklearn(query.embeddings @ gallery.embeddings.T, same)
    assert found["rate"] == pytest.approx(exact, rel=0.01)
