import numpy as np
import pytest

from bct_keras.metrics import influence
from bct_keras.metrics.identification import Identification
from bct_keras.metrics.influence import Influence
from bct_keras.metrics.search import search
from bct_keras.metrics.verification import NOBODY, TIE, Embedded, Verification, histogram

PEOPLE, IMAGES, DIMS = 120, 3, 8


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def people() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns queries, gallery and labels of people whose images differ by noise."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(PEOPLE), IMAGES)
    centres = random.normal(size=(PEOPLE, DIMS))[labels]
    queries, gallery = (unit(centres + 0.9 * random.normal(size=centres.shape)) for _ in range(2))
    return queries, gallery, labels


def tar_without(
    people: tuple[np.ndarray, np.ndarray, np.ndarray], far: float, left_out: int | None
) -> float:
    """Computes by hand, over all scores of everybody else."""
    queries, gallery, labels = people
    kept = labels != left_out
    scores, same = queries[kept] @ gallery[kept].T, labels[kept][:, None] == labels[kept]
    impostors = np.sort(scores[~same])[::-1]
    return float(np.mean(scores[same] > impostors[int(far * len(impostors))] + TIE))


@pytest.mark.parametrize("far", [1e-2, 1e-3])
def test_the_part_of_a_person_is_what_tar_loses_without_them(people, far):
    queries, gallery, labels = people
    found = search(Embedded(queries, labels), Embedded(gallery, labels), 2e-2).verification
    parts = influence.of_tar(found, far).parts
    everybody = tar_without(people, far, None)
    # T - T without a = part of a * n / (n - 1), to first order; the threshold moves in steps.
    moved = np.array([everybody - tar_without(people, far, person) for person in range(PEOPLE)])
    assert np.corrcoef(parts, moved)[0, 1] > 0.85
    assert np.std(parts) == pytest.approx(np.std(moved), rel=0.15)


def test_a_pair_of_two_people_is_not_counted_twice(people):
    queries, gallery, labels = people
    found = search(Embedded(queries, labels), Embedded(gallery, labels), 2e-2).verification
    part = influence.of_tar(found, 1e-2)
    threshold = found.thresholds([1e-2])[0]
    scores = queries @ gallery.T
    accepted = (scores > threshold) & (labels[:, None] != labels)
    between = np.zeros((PEOPLE, PEOPLE))
    np.add.at(between, (labels[:, None] + 0 * labels, labels + 0 * labels[:, None]), accepted)
    both_ways = np.triu(between + between.T, 1)
    slope = np.abs(part.by_pair).max()
    assert part.squares_of_pairs() == pytest.approx(slope**2 * np.sum(both_ways**2), rel=1e-3)


def test_pairs_that_stand_for_ten_are_counted_as_ten(people):
    queries, gallery, labels = people
    found = search(Embedded(queries, labels), Embedded(gallery, labels), 0.2).verification
    thinned = Verification(
        found.genuine,
        found.genuine_identities,
        found.impostors[5::10],
        found.impostor_identities[5::10],
        np.full(len(found.impostors[5::10]), 10.0, np.float32),
        found.identities,
        found.impostor_pairs,
        found.impostors_of,
        found.genuine_histogram,
        found.impostor_histogram,
    )
    whole, tenth = (influence.of_tar(each, 0.1).standard_error() for each in (found, thinned))
    assert tenth == pytest.approx(whole, rel=0.2)


def test_the_error_of_a_mean_of_single_rows_is_the_textbooks():
    values = np.random.default_rng(1).normal(size=400)
    found = influence.of_shares(values, np.arange(400), 400)
    # The kurtosis of a normal sample is 3 and adds nothing but its own chance.
    assert found.standard_error() == pytest.approx(np.std(values, ddof=1) / 20, rel=0.01)


def test_rows_of_one_person_count_together():
    # Two people of two rows each: parts (1 + 1 - 2 * 0.5) / 4 and (0 + 0 - 2 * 0.5) / 4
    found = influence.of_shares(np.array([1.0, 1.0, 0.0, 0.0]), np.array([0, 0, 1, 1]), 2)
    np.testing.assert_allclose(found.parts, [0.25, -0.25])


def test_a_difference_in_which_nothing_differs_still_has_a_width():
    same = influence.of_shares(np.ones(80), np.repeat(np.arange(20), 4), 20)
    assert (same - same).standard_error() == pytest.approx(np.sqrt(2) / 80)


def test_what_is_common_to_two_tests_is_no_part_of_their_difference():
    random = np.random.default_rng(2)
    common, units = random.normal(size=200), np.arange(200)
    old = influence.of_shares(common, units, 200)
    new = influence.of_shares(common + 0.01 * random.normal(size=200), units, 200)
    assert (new - old).standard_error() < 0.02 * old.standard_error()


def test_few_people_who_differ_make_the_error_larger():
    values = np.zeros(100)
    values[0] = 1.0
    found = influence.of_shares(values, np.arange(100), 100)
    plain = np.std(values, ddof=1) / 10
    # Kurtosis about 100: 1 + 2 * (100 - 3) / 100 is nearly 3.
    assert found.standard_error() == pytest.approx(plain * np.sqrt(2.94), rel=0.02)


def test_pairs_without_people_are_units_of_their_own():
    random = np.random.default_rng(3)
    genuine, impostors = random.normal(2, 1, 300), np.sort(random.normal(0, 1, 300))[::-1]
    found = Verification(
        genuine,
        np.arange(300),
        impostors,
        np.stack([np.arange(300, 600), np.full(300, NOBODY)], 1),
        np.ones(300),
        600,
        300.0,
        np.repeat([0, 1], 300),
        histogram(genuine),
        histogram(impostors),
    )
    errors = []
    for _ in range(400):
        drawn, others = random.choice(genuine, 300), np.sort(random.choice(impostors, 300))[::-1]
        errors.append(np.mean(drawn > others[30] + TIE))
    assert influence.of_tar(found, 0.1).standard_error() == pytest.approx(np.std(errors), rel=0.25)


def test_tpir_has_parts_of_those_who_raise_false_alarms():
    # Ten people in the gallery, ten unseen ones who raise false alarms, one of them much more than
    # the others.
    random = np.random.default_rng(4)
    mated = np.arange(200) < 100
    own = np.where(mated, random.normal(0.5, 0.2, 200), -np.inf)
    best_other = random.normal(0.2, 0.1, 200)
    best_other[190:] += 0.3
    above = np.zeros(200, int)
    found = Identification(np.arange(200) // 10, mated, own, best_other, above, above)
    part = influence.of_tpir(found, 0.1, 20)
    assert np.argmin(part.by_threshold) == 19
    assert not part.by_threshold[:10].any()
    assert not part.own[10:].any()


def test_the_mean_of_two_galleries_has_the_mean_of_the_parts():
    first, second = (
        Influence(np.ones(3), np.zeros(3), 0.5),
        Influence(np.zeros(3), np.ones(3), 0.25),
    )
    mean = influence.mean_of([first, second])
    np.testing.assert_allclose(mean.parts, [1.0, 1.0, 1.0])
    assert mean.row == 0.25


def test_the_error_of_a_mean_of_a_metric_with_itself_is_that_of_the_metric(people):
    queries, gallery, labels = people
    verification = search(Embedded(queries, labels), Embedded(gallery, labels), 1e-2).verification
    alone = influence.of_tar(verification, 1e-2)
    assert len(alone.pair_keys)  # TAR has what pairs of two people add; it is in the mean too
    mean = influence.mean_of([alone, alone])
    assert mean.standard_error() == pytest.approx(alone.standard_error())
    assert mean.squares_of_pairs() == pytest.approx(alone.squares_of_pairs(), rel=1e-6, abs=1e-12)
