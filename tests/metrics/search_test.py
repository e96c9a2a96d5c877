import numpy as np
import pytest
from sklearn.metrics import roc_curve

from bct_keras.data.embeddings import normalised
from bct_keras.errors import InputError
from bct_keras.evaluate import search_rates
from bct_keras.metrics import search as search_module
from bct_keras.metrics.gains import thresholds
from bct_keras.metrics.ranking import average_precision, ranks_of_own, recall
from bct_keras.metrics.verification import TIE, Embedded


def search(
    query: Embedded, gallery: Embedded, fars: tuple[float, ...], ranks: tuple[int, ...]
) -> dict[str, float]:
    return search_module.search(query, gallery, max(fars)).rates(fars, ranks)


def clusters(rows: int, identities: int, seed: int) -> Embedded:
    """Returns embeddings that tell something of their identity, and not all."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, identities, rows)
    centres = np.random.default_rng(99).normal(size=(identities, 16))
    embeddings = centres[labels] + 1.5 * random.normal(size=(rows, 16))
    return Embedded(normalised(embeddings).astype(np.float32), labels)


def refreshed_by_itself(query: Embedded, gallery: Embedded) -> dict:
    return search_rates.refreshed(query, gallery, gallery)


def tar_by_sklearn(query: Embedded, gallery: Embedded, far: float) -> float:
    """Returns the largest TPR of the ROC's points whose FPR is at most `far`."""
    same = query.labels[:, None] == gallery.labels
    scores = query.embeddings @ gallery.embeddings.T
    fpr, tpr, _ = roc_curve(same.ravel(), scores.ravel(), drop_intermediate=False)
    return tpr[fpr <= far].max()


def found_at(query: Embedded, gallery: Embedded, rank: int) -> float:
    found = 0
    for embedding, label in zip(query.embeddings, query.labels, strict=True):
        best_first = np.argsort(-(gallery.embeddings @ embedding))
        found += label in gallery.labels[best_first[:rank]]
    return found / len(query.labels)


# All queries at once, one at a time, and seven at a time with a rest of four (300 rows in the
# gallery).
@pytest.mark.parametrize("scores_at_once", [16_000_000, 1, 7 * 300])
def test_numbers_are_those_of_sklearn_and_of_a_plain_loop(monkeypatch, scores_at_once):
    monkeypatch.setattr(search_module, "SCORES_AT_ONCE", scores_at_once)
    query, gallery = clusters(200, 20, seed=1), clusters(300, 20, seed=2)
    metrics = search(query, gallery, fars=(1e-1, 1e-2, 1e-3), ranks=(1, 5))
    assert list(metrics) == ["TAR@FAR=1e-1", "TAR@FAR=1e-2", "TAR@FAR=1e-3", "top-1", "top-5"]
    for far in (1e-1, 1e-2, 1e-3):
        assert metrics[f"TAR@FAR={far:.0e}".replace("e-0", "e-")] == tar_by_sklearn(
            query, gallery, far
        )
    assert 0 < metrics["TAR@FAR=1e-3"] < metrics["TAR@FAR=1e-1"] < 1
    for rank in (1, 5):
        assert metrics[f"top-{rank}"] == pytest.approx(found_at(query, gallery, rank))
    assert 0 < metrics["top-1"] < metrics["top-5"] < 1


def test_thresholds_let_in_that_share_of_false_ones_and_give_the_tar():
    query, gallery = clusters(300, 30, 1), clusters(200, 30, 2)
    found = search_module.search(query, gallery, 1e-2)
    metrics = found.rates((1e-2, 1e-3), ())
    scores = query.embeddings @ gallery.embeddings.T
    same = query.labels[:, None] == gallery.labels
    for name, threshold in thresholds(found.verification, metrics).items():
        impostors, far = scores[~same], float(name.removeprefix("TAR@FAR="))
        assert np.mean(impostors > threshold + TIE) <= far < np.mean(impostors > threshold - 1e-3)
        assert np.mean(scores[same] > threshold + TIE) == pytest.approx(metrics[name])
    assert len(metrics) == 2


def at_angles(degrees: list[float], labels: list[int]) -> Embedded:
    radians = np.radians(degrees)
    return Embedded(
        np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32), np.array(labels)
    )


def test_a_wrong_image_as_near_as_the_right_one_counts_against_us():
    # The right one at 30 degrees to one side, the wrong one to the other; then the wrong one 1
    # degree farther.
    query = at_angles([0], [0])
    assert search(query, at_angles([30, -30], [0, 1]), fars=(0.5,), ranks=(1, 2)) == {
        "top-1": 0.0,
        "top-2": 1.0,
    }
    assert search(query, at_angles([30, -31], [0, 1]), fars=(0.5,), ranks=(1,)) == {"top-1": 1.0}


def test_a_tie_at_the_threshold_is_not_accepted():
    # 40 impostor pairs, so that FAR 0.25 accepts ten: the threshold is the 11th one's score, at 20
    # degrees.
    gallery = at_angles([*[10] * 10, 20, *[40] * 29, 15, -20, 60], [*range(1, 41), 0, 0, 0])
    metrics = search(at_angles([0], [0]), gallery, fars=(0.25,), ranks=(1,))
    assert metrics["TAR@FAR=2e-1"] == pytest.approx(1 / 3)  # 15 degrees, and neither 20 nor 60


def test_several_images_of_an_identity_count_by_the_nearest():
    metrics = search(
        at_angles([0], [0]), at_angles([80, 10, 20], [0, 0, 1]), fars=(0.5,), ranks=(1,)
    )
    assert metrics == {"top-1": 1.0}


def test_a_query_that_is_not_in_the_gallery_is_not_found():
    metrics = search(
        at_angles([0, 0], [0, 7]), at_angles([10, 20], [0, 1]), fars=(0.1,), ranks=(1, 2)
    )
    # Both images of the gallery are wrong for the second query, whatever the rank.
    assert metrics == {"top-1": 0.5, "top-2": 0.5}


def test_a_far_that_accepts_fewer_than_ten_pairs_gives_no_metric():
    labels = np.arange(5).repeat(10)
    rows = Embedded(np.eye(5, dtype=np.float32)[labels], labels)
    # 50 * 50 - 5 * 10 * 10 = 2,000 impostor pairs: ten at 5e-3, eight at 4e-3
    assert list(search(rows, rows, fars=(5e-3, 4e-3), ranks=())) == ["TAR@FAR=5e-3"]


def test_one_point_for_all_images_finds_nothing():
    # 512 dimensions: there a product of the same two vectors differs in its last bit from place to
    # place.
    random = np.random.default_rng(0)
    point = normalised(random.normal(size=(1, 512))).astype(np.float32)
    query = Embedded(point.repeat(101, 0), random.integers(0, 5, 101))
    gallery = Embedded(point.repeat(257, 0), random.integers(0, 5, 257))
    metrics = search(query, gallery, fars=(1e-1, 1e-2), ranks=(1, 5))
    assert set(metrics.values()) == {0.0}


def test_a_difference_in_the_last_bit_is_a_tie():
    # Float32 has 1 - 2^-24 just below 1.
    query = Embedded(np.array([[1.0, 0.0]] * 20, np.float32), np.zeros(20, int))
    gallery = Embedded(np.array([[1.0, 0.0], [1 - 2**-24, 0.0]], np.float32), np.array([0, 1]))
    assert search(query, gallery, fars=(0.5,), ranks=(1,)) == {"TAR@FAR=5e-1": 0.0, "top-1": 0.0}


def test_perfect_embeddings_find_everything():
    query, gallery = Embedded(np.eye(12), np.arange(12)), Embedded(np.eye(12), np.arange(12))
    assert search(query, gallery, fars=(0.1,), ranks=(1,)) == {"TAR@FAR=1e-1": 1.0, "top-1": 1.0}


def test_other_dimensions_are_refused():
    query, gallery = Embedded(np.eye(8), np.arange(8)), Embedded(np.eye(4), np.arange(4))
    with pytest.raises(InputError, match=r"8 dimensions .* gallery of 4"):
        search(query, gallery, fars=(0.1,), ranks=(1,))


@pytest.mark.parametrize("compare", [search_rates.measure, refreshed_by_itself])
def test_what_is_no_number_is_refused(compare):
    gallery = clusters(300, 20, 2)
    gallery.embeddings[7] = np.nan
    with pytest.raises(InputError, match="not finite numbers"):
        compare(clusters(300, 20, 1), gallery)


def test_kept_impostors_are_the_strongest_with_their_identities(monkeypatch):
    monkeypatch.setattr(search_module, "SCORES_AT_ONCE", 7 * 300)
    query, gallery = clusters(200, 20, seed=1), clusters(300, 20, seed=2)
    found = search_module.search(query, gallery, 0.01).verification
    scores = query.embeddings @ gallery.embeddings.T
    same = query.labels[:, None] == gallery.labels
    expected = np.sort(scores[~same])[::-1][: len(found.impostors)]
    assert len(found.impostors) == int(2 * 0.01 * np.sum(~same)) + 2
    np.testing.assert_allclose(found.impostors, expected, atol=1e-6)
    first, second = found.impostor_identities.T
    assert (first != second).all()
    # The strongest one of all is a pair of just those two identities.
    row, column = np.unravel_index(np.argmax(np.where(same, -2, scores)), scores.shape)
    assert (first[0], second[0]) == (query.labels[row], gallery.labels[column])


def test_average_precision_and_recall_of_a_ranking():
    # Own images at ranks 1, 3 and 12: (1/1 + 2/3 + 3/12) / 3, and two of the three are among the
    # first ten.
    others = np.array([0.1, *np.linspace(0.5, 0.57, 8), 0.8])
    ranks = ranks_of_own(np.array([0.7, 0.2, 0.9]), others)
    assert ranks.tolist() == [1, 3, 12]
    assert average_precision(ranks) == pytest.approx((1 + 2 / 3 + 3 / 12) / 3)
    assert recall(ranks) == pytest.approx(2 / 3)


def test_unseen_identities_are_every_other_one_in_turn():
    query, gallery = clusters(200, 20, seed=1), clusters(300, 20, seed=2)
    scores = query.embeddings @ gallery.embeddings.T
    for half, found in enumerate(search_module.search(query, gallery, 0.1).halves):
        inside = query.labels % 2 == half
        np.testing.assert_array_equal(found.mated, inside)
        unseen = scores[~inside][:, gallery.labels % 2 == half]
        np.testing.assert_allclose(found.best_other[~inside], unseen.max(1), atol=1e-6)


def test_impostors_are_kept_up_to_twice_the_highest_rate():
    query, gallery = clusters(120, 6, seed=1), clusters(120, 6, seed=2)
    found = search_module.search(query, gallery, 0.01).verification
    whole = search_module.search(query, gallery, 1.0).verification
    assert len(whole.impostors) == found.impostor_pairs == found.impostors_of.sum() / 2
    assert len(found.impostors) == int(0.02 * found.impostor_pairs) + 2
    assert found.threshold_and_tar(0.02) == whole.threshold_and_tar(0.02)
