import numpy as np
import pytest

from bct_keras.data.embeddings import normalised
from bct_keras.metrics.gains import carried_over, thresholds
from bct_keras.metrics.search import search
from bct_keras.metrics.verification import TIE, Embedded


def embedded(noise: float, seed: int) -> Embedded:
    labels = np.repeat(np.arange(30), 8)
    people = np.random.default_rng(9).normal(size=(30, 12))
    spread = noise * np.random.default_rng(seed).normal(size=(240, 12))
    return Embedded(normalised(people[labels] + spread).astype(np.float32), labels)


def test_a_threshold_carried_over_gives_the_shares_that_exceed_it():
    old = search(embedded(1.0, 1), embedded(1.0, 2), highest_far=1e-1)
    query, gallery = embedded(0.7, 3), embedded(1.0, 2)
    new = search(query, gallery, highest_far=1e-1)
    cosines = thresholds(old.verification, ["TAR@FAR=1e-1", "TAR@FAR=1e-2"])
    found = carried_over(cosines, new.verification)

    scores = query.embeddings @ gallery.embeddings.T
    same = query.labels[:, None] == gallery.labels
    for metric, cosine in cosines.items():
        assert found[metric]["far"] == pytest.approx(np.mean(scores[~same] > cosine), abs=1e-6)
        assert found[metric]["tar"] == np.mean(scores[same] > cosine + TIE)
    # Held against itself it is what it was made for.
    again = carried_over(cosines, old.verification)
    assert again["TAR@FAR=1e-2"]["far"] == pytest.approx(1e-2, abs=1e-4)


def test_far_below_the_impostors_that_are_kept_it_goes_by_the_histogram():
    query, gallery = embedded(0.7, 3), embedded(1.0, 2)
    found = search(query, gallery, highest_far=1e-3).verification
    scores = query.embeddings @ gallery.embeddings.T
    impostors = scores[query.labels[:, None] != gallery.labels]
    for cosine in (-0.513, 0.0, 0.207):
        far, _ = found.rates_above(cosine)
        assert far == pytest.approx(np.mean(impostors > cosine), abs=2e-3)
    assert found.rates_above(1.5) == (0.0, 0.0)
    assert found.rates_above(-1.5) == (1.0, 1.0)
