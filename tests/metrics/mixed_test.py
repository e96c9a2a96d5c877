import doctest

import numpy as np
import pytest

from bct_keras.data.embeddings import normalised
from bct_keras.metrics import merging, mixed, refresh
from bct_keras.metrics.merging import ByCosine, Parts, by_odds, by_rate, can_calibrate
from bct_keras.metrics.mixed import refresh_curves
from bct_keras.metrics.refresh import (
    SHARES,
    farthest_first,
    hot_refresh,
    random_order,
    refreshed_rows,
)
from bct_keras.metrics.verification import Embedded, Sides, tar_at_far

IDENTITIES, IMAGES, DIMS = 40, 8, 16
FARS = (1e-1, 1e-2)


def side(noise: float, seed: int, turn: np.ndarray | None = None) -> Embedded:
    """Returns embeddings of the same people, seen more or less clearly."""
    labels = np.repeat(np.arange(IDENTITIES), IMAGES)
    people = np.random.default_rng(99).normal(size=(IDENTITIES, DIMS))
    spread = noise * np.random.default_rng(seed).normal(size=(len(labels), DIMS))
    embeddings = people[labels] + spread
    if turn is not None:
        embeddings = embeddings @ turn
    return Embedded(normalised(embeddings).astype(np.float32), labels)


def turned() -> np.ndarray:
    """Returns a rotation, to another space of the same dimensions."""
    rotation, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(DIMS, DIMS)))
    return rotation


def two_spaces() -> Parts:
    old = Sides(side(0.9, 1), side(0.9, 2))
    new = Sides(side(0.6, 3, turned()), side(0.6, 4, turned()))
    return Parts(old, new)


def top_1_plainly(scores: np.ndarray, query: np.ndarray, gallery: np.ndarray) -> float:
    return float(np.mean(gallery[scores.argmax(1)] == query))


@pytest.mark.parametrize("module", [mixed, refresh])
def test_examples_run(module):
    found = doctest.testmod(module)
    assert not found.failed


def test_cosines_of_one_space_give_the_curve_of_hot_refresh(monkeypatch):
    monkeypatch.setattr(mixed, "SCORES_AT_ONCE", 7 * IDENTITIES * IMAGES)  # several blocks
    query, old, new = side(0.8, 1), side(1.2, 2), side(0.8, 3)
    parts = Parts(Sides(query, old), Sides(query, new))
    orders = {"random": random_order(len(old.labels))}
    curve = refresh_curves(ByCosine(parts), parts, orders, FARS)["random"]

    def measure(query: Embedded, gallery: Embedded) -> dict[str, float]:
        scores = query.embeddings @ gallery.embeddings.T
        same = query.labels[:, None] == gallery.labels
        found = {"top-1": top_1_plainly(scores, query.labels, gallery.labels)}
        for far in FARS:
            found[f"TAR@FAR={far:.0e}".replace("e-0", "e-")] = tar_at_far(scores, same, far)
        return found

    expected = hot_refresh(measure, query, old, new)
    for metric, values in expected["metrics"].items():
        assert curve["metrics"][metric] == pytest.approx(values)
        assert curve["area"][metric] == pytest.approx(expected["area"][metric])


def test_parts_alone_are_what_a_search_of_those_entries_finds():
    parts = two_spaces()
    order = random_order(len(parts.old.gallery.labels))
    curve = refresh_curves(by_rate(parts), parts, {"x": order}, ())["x"]
    for place in (3, 7):
        refreshed = refreshed_rows(order, SHARES[place])
        for name, part, chosen in (("old", parts.old, ~refreshed), ("new", parts.new, refreshed)):
            scores = part.query.embeddings @ part.gallery.embeddings[chosen].T
            alone = top_1_plainly(scores, part.query.labels, part.gallery.labels[chosen])
            assert curve["alone"][name][place] == pytest.approx(alone)
    # Nothing is new at first, and all is at last.
    assert curve["alone"]["new"][0] == curve["alone"]["old"][-1] == 0.0
    assert curve["metrics"]["top-1"][0] == pytest.approx(curve["alone"]["old"][0])
    assert curve["metrics"]["top-1"][-1] == pytest.approx(curve["alone"]["new"][-1])


def test_one_list_by_rates_is_nowhere_below_the_better_part_and_above_plain_cosines():
    parts = two_spaces()
    # The old space is narrow: whatever is in it has a high cosine, of one identity or of two.
    shifted = []
    for each in parts.old:
        constant = np.full((len(each.labels), 1), 1.5, np.float32)
        narrow = normalised(np.concatenate([each.embeddings, constant], 1))
        shifted.append(Embedded(narrow, each.labels))
    parts = Parts(Sides(*shifted), parts.new)
    orders = {"random": random_order(len(parts.old.gallery.labels))}
    rates = refresh_curves(by_rate(parts), parts, orders, FARS)["random"]
    cosines = refresh_curves(ByCosine(parts), parts, orders, FARS)["random"]
    assert all(high >= 0 for _, high in rates["lead"])
    assert any(high < 0 for _, high in cosines["lead"])
    for metric in ("top-1", "TAR@FAR=1e-2"):
        assert rates["area"][metric] > cosines["area"][metric] + 0.05


def test_a_query_is_ranked_by_what_other_identities_say():
    parts = two_spaces()
    merge = by_rate(parts)
    old, _ = merge.scores(slice(0, 50))
    even = parts.old.query.labels % 2 == 0
    odd_images = parts.old.gallery.labels % 2 == 1
    # The rates of even identities come from impostors among the odd ones alone.
    cosines = parts.old.query.embeddings[~even] @ parts.old.gallery.embeddings[odd_images].T
    same = parts.old.query.labels[~even][:, None] == parts.old.gallery.labels[odd_images]
    impostors = cosines[~same]
    row = 0
    assert even[row]
    scores = parts.old.query.embeddings[row] @ parts.old.gallery.embeddings.T
    shares = np.array([np.mean(impostors >= score) for score in scores])
    rates = np.exp(-merging.STEEPNESS * old[row])
    inside = shares > 1e-2
    assert rates[inside] == pytest.approx(shares[inside], rel=0.15)


def test_a_tie_counts_against_the_queries():
    own, other = np.array([0.5, 0.6, -np.inf]), np.array([0.5, 0.5, 0.9])
    assert mixed.finds_own(own, other).tolist() == [False, True, False]
    nothing = np.full(1, -np.inf)
    assert mixed.finds_own(nothing, nothing).tolist() == [False]


def test_what_cannot_be_calibrated_is_told():
    assert can_calibrate(two_spaces().old)
    few = Embedded(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))
    assert not can_calibrate(Sides(few, few))  # one odd identity: no pair of two


def test_farthest_from_the_mean_of_the_class_come_first():
    gallery = side(1.0, 7)
    distances = []
    for row, label in enumerate(gallery.labels):
        mean = gallery.embeddings[gallery.labels == label].mean(0)
        distances.append(float(np.linalg.norm(gallery.embeddings[row] - mean)))
    order = farthest_first(gallery)
    assert sorted(order.tolist()) == list(range(len(gallery.labels)))
    assert np.all(np.diff(np.array(distances)[order]) <= 1e-6)


def test_a_larger_share_has_all_rows_of_a_smaller_one():
    order = random_order(25)
    before = np.zeros(25, bool)
    for share in SHARES:
        chosen = refreshed_rows(order, share)
        assert chosen.sum() == round(share * 25)
        assert not (before & ~chosen).any()
        before = chosen


def test_by_odds_old_entries_that_tell_nothing_do_no_harm():
    # Queries of another space than the old entries.
    strangers = Sides(side(0.6, 3, turned()), side(0.9, 2))
    parts = Parts(strangers, two_spaces().new)
    orders = {"random": random_order(len(parts.old.gallery.labels))}
    by_odds_curve = refresh_curves(by_odds(parts), parts, orders, FARS)["random"]
    by_rate_curve = refresh_curves(by_rate(parts), parts, orders, FARS)["random"]
    assert all(high >= 0 for _, high in by_odds_curve["lead"])
    assert any(high < 0 for _, high in by_rate_curve["lead"])
    assert by_odds_curve["area"]["top-1"] > by_rate_curve["area"]["top-1"]
