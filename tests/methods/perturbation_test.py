"""Tests that class means are pushed apart where they crowd."""

from typing import Any

import numpy as np
import pytest
from prepared import CLASSES, DIMS, class_means, ready, unit

from bct_keras.errors import InputError
from bct_keras.methods import METHODS, perturbation
from bct_keras.methods.perturbation import perturbed

# Two that are near to each other, one opposite to them, and a class without images
MEANS = np.array([[0.8, 0.6], [0.6, 0.8], [-1.0, 0.0], [0.0, 0.0]])


def by_hand(means: np.ndarray, perturb: float, neighbours: int) -> np.ndarray:
    """Returns the formula of the docstring, one class after the other."""
    found = means.copy()
    known = [place for place, mean in enumerate(means) if mean.any()]
    for row in known:
        others = [other for other in known if other != row]
        others.sort(key=lambda other: -means[row] @ means[other])
        nearest = others[:neighbours]
        push = np.zeros(means.shape[1])
        for other in nearest:
            away = means[row] - means[other]
            push += max(means[row] @ means[other], 0.0) * away / np.linalg.norm(away)
        found[row] = unit(means[row] + perturb * push / len(nearest))
    return found


@pytest.mark.parametrize("neighbours", [1, 2, 3, 100])
@pytest.mark.parametrize("at_once", [1, 4, 1000])
def test_means_are_moved_by_the_formula(neighbours, at_once, monkeypatch):
    monkeypatch.setattr(perturbation, "ROWS_AT_ONCE", at_once)
    means = unit(np.random.default_rng(0).normal(size=(9, 3)))
    means[4] = 0.0
    expected = by_hand(means, 0.7, neighbours)
    np.testing.assert_allclose(perturbed(means, 0.7, neighbours), expected, atol=1e-12)


def test_those_that_crowd_come_apart_and_the_others_stay():
    found = perturbed(MEANS, 0.5, 1)
    assert found[0] @ found[1] < MEANS[0] @ MEANS[1]
    np.testing.assert_array_equal(found[2:], MEANS[2:])


@pytest.mark.parametrize("means", [MEANS[:1], MEANS[3:], MEANS])
def test_nothing_moves_without_a_push_or_another_class(means):
    np.testing.assert_array_equal(perturbed(means, 0.0 if len(means) > 1 else 0.5, 3), means)


@pytest.mark.parametrize(
    ("name", "constant", "at_length_1"),
    [("bct", "prototypes", False), ("lce", "old_centres", True)],
)
def test_methods_align_to_what_was_moved(name, constant, at_length_1, stored, old, labels):
    means = class_means(unit(old) if at_length_1 else old, labels)
    method: Any = ready(METHODS[name](perturb=0.5, neighbours=2), stored)
    found = getattr(method, constant).numpy()
    assert found.shape == (CLASSES, DIMS)
    np.testing.assert_allclose(found, by_hand(means, 0.5, 2), atol=1e-5)
    assert np.abs(found - means).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"perturb": -0.5}, r"^perturb=-0\.5 of bct has to be at least 0$"),
        ({"neighbours": 0}, r"^neighbours=0 of bct has to be at least 1$"),
    ],
)
def test_options_that_are_none_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        METHODS["bct"](**options)
