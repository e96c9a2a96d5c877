import doctest

import numpy as np
import pytest

from bct_keras.data.embeddings import normalised
from bct_keras.metrics import neighbours
from bct_keras.metrics.neighbours import nearest, neighbours_kept


def rows(count: int, seed: int) -> np.ndarray:
    return normalised(np.random.default_rng(seed).normal(size=(count, 6))).astype(np.float32)


def test_examples_run():
    assert not doctest.testmod(neighbours).failed


@pytest.mark.parametrize("at_once", [8_000_000, 150])
def test_the_nearest_are_those_of_a_plain_sort(monkeypatch, at_once):
    monkeypatch.setattr(neighbours, "SCORES_AT_ONCE", at_once)
    queries, gallery = rows(11, 0), rows(50, 1)
    found = nearest(queries, gallery, k=10)
    for query, chosen in zip(queries, found, strict=True):
        expected = np.argsort(-(gallery @ query))[:10]
        assert set(chosen) == set(expected)


def test_a_small_gallery_is_found_whole():
    assert sorted(nearest(rows(1, 0), rows(4, 1), k=10)[0]) == [0, 1, 2, 3]


def test_a_rotation_of_both_sides_keeps_all_and_noise_keeps_chance():
    queries, gallery = rows(200, 0), rows(100, 1)
    rotation, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))
    truth = nearest(queries, gallery)
    assert np.mean(neighbours_kept(truth, nearest(queries @ rotation, gallery @ rotation))) > 0.99
    # Ten of a hundred by chance: a tenth.
    unrelated = neighbours_kept(truth, nearest(rows(200, 3), gallery))
    assert unrelated.mean() == pytest.approx(0.1, abs=0.03)
