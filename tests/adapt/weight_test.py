import numpy as np
import pytest

from bct_keras.adapt.weight import WEIGHTS, Judges, chosen_weight, first_identities

PEOPLE, EACH, DIMS = 40, 6, 5


def judges(name: str, new_noise: float, old_noise: float, seed: int) -> Judges:
    """People as points that both encoders see with a noise of their own."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(PEOPLE), EACH)
    person = random.normal(size=(PEOPLE, DIMS))[labels]
    new = person + new_noise * random.normal(size=person.shape)
    old = person + old_noise * random.normal(size=person.shape)
    return Judges(name, new, old, labels)


def test_an_encoder_that_sees_less_noise_counts_more():
    better = chosen_weight([judges("a", new_noise=0.2, old_noise=1.2, seed=0)])
    worse = chosen_weight([judges("a", new_noise=1.2, old_noise=0.4, seed=0)])
    assert worse.value < 0.5 < better.value


def test_identities_that_flatter_either_encoder_even_each_other_out():
    of_new = judges("new", new_noise=0.1, old_noise=1.2, seed=1)
    of_old = judges("old", new_noise=1.2, old_noise=0.1, seed=2)
    weight = chosen_weight([of_new, of_old])
    alone = [chosen_weight([each]).value for each in (of_new, of_old)]
    assert min(alone) <= weight.value <= max(alone)
    expected = np.mean([weight.gains["new"], weight.gains["old"]], axis=0)
    assert weight.value == WEIGHTS[int(np.argmax(expected))]


def test_a_gain_is_the_mean_logarithm_over_the_metrics():
    same = judges("same", new_noise=0.5, old_noise=0.5, seed=3)
    twice = Judges("twice", same.old * 3.0, same.old, same.labels)
    gains = chosen_weight([twice]).gains["twice"]
    assert gains == pytest.approx([0.0] * len(WEIGHTS))  # the mean of a vector with itself


def test_whole_identities_are_taken():
    labels = np.array([3, 1, 3, 2, 1, 2, 3])
    assert first_identities(labels, 3).tolist() == [1, 3, 4, 5]  # those of 1, and of 2
