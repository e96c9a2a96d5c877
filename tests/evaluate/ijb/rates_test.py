"""Compares the rates of IJB with numbers of the released code.

Those of golden/ijbc.npz are ../shared/oracles/ijbc_0.npz, less what is large.
"""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_curve as sklearn_roc_curve

from bct_keras.evaluate.ijb import rates as ijb_rates
from bct_keras.evaluate.ijb import templates
from bct_keras.evaluate.ijb.rates import Listed, Lists, TemplatePairs
from bct_keras.metrics import identification, roc
from bct_keras.metrics.verification import Embedded

GOLDEN = Path(__file__).parents[2] / "golden" / "ijbc.npz"
TESTS = {"self_new": ("new", "new"), "self_old": ("old", "old"), "cross": ("new", "old")}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def sides(golden) -> dict[str, Embedded]:
    return {
        name: Embedded(golden[f"{name}_template_features"], np.arange(180))
        for name in ("new", "old")
    }


def rows(golden, name: str) -> np.ndarray:
    return np.searchsorted(golden["template_numbers"], golden[name])


@pytest.fixture(scope="module")
def pairs(golden) -> TemplatePairs:
    return TemplatePairs(rows(golden, "p1"), rows(golden, "p2"), golden["label"] > 0)


def test_template_features_are_the_released_codes(golden):
    numbers, template_rows = np.unique(golden["few_templates"], return_inverse=True)
    features = golden["few_new"] + golden["few_new_flip"]
    scores = golden["few_face_scores"]
    weights = templates.image_weights(
        features, golden["few_templates"], golden["few_medias"], scores, False
    )
    pooled = templates.pool(features, template_rows, len(numbers), weights)
    np.testing.assert_allclose(pooled, golden["new_template_features"][:25], atol=1e-6)


@pytest.mark.parametrize("test", TESTS)
def test_verification_is_the_released_codes(golden, sides, pairs, test):
    query, gallery = (sides[name] for name in TESTS[test])
    assert pairs.repeated
    scores = pairs.scores(query, gallery)
    curve = roc.roc_curve(scores[pairs.genuine], scores[~pairs.genuine], pairs.repeated)
    tars = [curve.tar_nearest(far) for far in golden["fars"]]
    np.testing.assert_allclose(tars, golden[f"{test}/tar"], atol=1e-6)
    assert curve.auc == pytest.approx(golden[f"{test}/auc"], abs=1e-6)


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("name", ["g1", "g2"])
def test_identification_is_the_released_codes(golden, sides, test, name):
    query, gallery = (sides[side] for side in TESTS[test])
    probes = Listed(rows(golden, "probe_templates"), golden["probe_ids"])
    listed = Listed(rows(golden, f"{name}_templates"), golden[f"{name}_ids"])
    found = ijb_rates.search(query, gallery, probes, listed)
    thresholds = [identification.threshold_at(found, fpir) for fpir in golden["fpirs"]]
    np.testing.assert_allclose(thresholds, golden[f"{test}/{name}_threshold"], atol=1e-6)
    rates = [identification.tpir(found, threshold) for threshold in thresholds]
    np.testing.assert_allclose(rates, golden[f"{test}/{name}_tpir"], atol=1e-6)
    assert (
        identification.rank_counts(found, (1, 5, 10)) == golden[f"{test}/{name}_top1_5_10"].tolist()
    )


def test_all_numbers_come_out_together(golden, sides, pairs):
    probes = Listed(rows(golden, "probe_templates"), golden["probe_ids"])
    first, second = (
        Listed(rows(golden, f"{name}_templates"), golden[f"{name}_ids"]) for name in ("g1", "g2")
    )
    lists = Lists(pairs, probes, (first, second))
    found = ijb_rates.measure(sides["new"], sides["old"], lists)
    # 40,000 impostor pairs: at 1e-5 there would be less than one.
    fars = ["TAR@FAR=1e-4", "TAR@FAR=1e-3", "TAR@FAR=1e-2", "TAR@FAR=1e-1"]
    fpirs = ["TPIR@FPIR=1e-3", "TPIR@FPIR=1e-2", "TPIR@FPIR=1e-1"]
    assert list(found.metrics) == [*fars, *fpirs, "top-1", "top-5", "top-10"]
    np.testing.assert_allclose(
        [found.metrics[far] for far in fars], golden["cross/tar"][2:], atol=1e-6
    )
    both = [golden[f"cross/{name}_tpir"] for name in ("g1", "g2")]
    np.testing.assert_allclose([found.metrics[fpir] for fpir in fpirs], np.mean(both, 0), atol=1e-6)
    parts = found.influences() if found.influences else {}
    assert sorted(parts) == sorted(found.metrics)
    assert all(0 < part.standard_error() < 0.2 for part in parts.values())


def scores_of(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(1.5, 1, 300), random.normal(0, 1, 20_000)


def nearest_by_sklearn(genuine: np.ndarray, impostors: np.ndarray, far: float) -> float:
    """Returns TAR as the released code has it.

    Of the curve's points from the last to the first, it takes the first of the nearest.
    """
    labels = np.repeat([1, 0], [len(genuine), len(impostors)])
    fpr, tpr, _ = sklearn_roc_curve(labels, np.concatenate([genuine, impostors]))
    return tpr[::-1][np.argmin(np.abs(fpr[::-1] - far))]


@pytest.mark.parametrize("far", [1e-5, 1e-4, 1e-3, 1e-2, 1e-1])
@pytest.mark.parametrize("repeated", [False, True])
def test_tar_is_read_off_sklearns_curve(far, repeated):
    genuine, impostors = scores_of(3)
    if repeated:
        impostors = impostors[np.random.default_rng(0).integers(0, len(impostors), 30_000)]
        genuine = np.concatenate([genuine, genuine[:50]])
    expected = nearest_by_sklearn(genuine, impostors, far)
    assert roc.roc_curve(genuine, impostors, repeated).tar_nearest(far) == expected


def test_scores_of_pairs_are_plain_products(monkeypatch):
    random = np.random.default_rng(0)
    first, second = (random.normal(size=(rows, 16)).astype(np.float32) for rows in (40, 30))
    first_rows, second_rows = random.integers(5, 38, 900), random.integers(0, 29, 900)
    for block in (6_000_000, 100, 1):
        monkeypatch.setattr(templates, "SCORE_BLOCK", block)
        scores = templates.pair_scores(
            first, second, first_rows.astype(np.uint8), second_rows.astype(np.uint8)
        )
        np.testing.assert_allclose(
            scores, (first[first_rows] * second[second_rows]).sum(1), atol=1e-5
        )


@pytest.mark.parametrize("normalise_first", [False, True])
@pytest.mark.parametrize("detector_score", [False, True])
def test_pooling_is_the_plain_loop(monkeypatch, normalise_first, detector_score):
    monkeypatch.setattr(templates, "ROWS_AT_ONCE", 50)
    random = np.random.default_rng(0)
    numbers, medias = np.r_[np.arange(20), random.integers(0, 20, 280)], random.integers(0, 90, 300)
    features, scores = random.normal(size=(300, 8)).astype(np.float32), random.random(300)
    weights = templates.image_weights(
        features, numbers, medias, scores if detector_score else None, normalise_first
    )
    pooled = templates.pool(features, numbers, 20, weights)
    for template in range(20):
        total = np.zeros(8)
        for media in np.unique(medias[numbers == template]):
            chosen = features[(numbers == template) & (medias == media)].astype(np.float64)
            chosen = (
                chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
                if normalise_first
                else chosen
            )
            weight = (
                scores[(numbers == template) & (medias == media), None] if detector_score else 1.0
            )
            total += (chosen * weight).mean(0)
        np.testing.assert_allclose(pooled[template], total / np.linalg.norm(total), atol=1e-6)
