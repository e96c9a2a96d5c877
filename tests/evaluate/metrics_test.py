"""Tests the metrics as functions of scores against scikit-learn, a plain loop, and a protocol."""

import doctest

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_curve

from bct_keras import vectors
from bct_keras.errors import InputError
from bct_keras.evaluate import division, retrieval
from bct_keras.metrics import identification, ranking, verification
from bct_keras.metrics.identification import tpir_at_fpir
from bct_keras.metrics.ranking import mean_average_precision, recall_at_k, top_k
from bct_keras.metrics.verification import TIE, Embedded, tar_at_far, threshold_at_far
from bct_keras.vectors import normalised


@pytest.mark.parametrize("module", [identification, ranking, division, vectors, verification])
def test_examples_run(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


@pytest.fixture(scope="module")
def sides() -> tuple[Embedded, Embedded]:
    """Returns 40 identities with 10 queries and 10 images each.

    That makes 400 * 400 - 40 * 100 = 156,000 impostor pairs.
    """
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), 10)
    centres = random.normal(size=(40, 16))
    query, gallery = (centres[labels] + 1.5 * random.normal(size=(400, 16)) for _ in range(2))
    return Embedded(normalised(query), labels), Embedded(normalised(gallery), labels)


@pytest.fixture(scope="module")
def scores(sides) -> np.ndarray:
    return sides[0].embeddings @ sides[1].embeddings.T


def test_they_are_those_of_a_protocol(sides, scores):
    query, gallery = sides
    same = query.labels[:, None] == gallery.labels
    metrics = retrieval.measure(query, gallery).metrics
    assert tar_at_far(scores, same, far=1e-3) == metrics["TAR@FAR=1e-3"]
    for k in (1, 5):
        assert top_k(scores, query.labels, gallery.labels, k) == metrics[f"top-{k}"]
    assert mean_average_precision(scores, query.labels, gallery.labels) == pytest.approx(
        metrics["mAP"]
    )
    assert recall_at_k(scores, query.labels, gallery.labels) == pytest.approx(metrics["Recall@10"])
    rates = []
    for half in (0, 1):  # the gallery of every other identity, as the protocol divides it
        inside = gallery.labels % 2 == half
        rates.append(
            tpir_at_fpir(scores[:, inside], query.labels, gallery.labels[inside], fpir=1e-1)
        )
    assert np.mean(rates) == pytest.approx(metrics["TPIR@FPIR=1e-1"])


def test_tar_is_that_of_scikit_learn(sides, scores):
    same = sides[0].labels[:, None] == sides[1].labels
    fpr, tpr, _ = roc_curve(same.ravel(), scores.ravel(), drop_intermediate=False)
    for far in (1e-2, 1e-3, 1e-4):
        assert tar_at_far(scores, same, far) == tpr[fpr <= far].max()
        threshold = threshold_at_far(scores, same, far)
        assert (
            np.mean(scores[~same] > threshold + TIE)
            <= far
            < np.mean(scores[~same] > threshold - 1e-3)
        )


def test_mean_average_precision_is_that_of_scikit_learn(sides, scores):
    same = sides[0].labels[:, None] == sides[1].labels
    expected = np.mean(
        [average_precision_score(own, row) for own, row in zip(same, scores, strict=True)]
    )
    assert mean_average_precision(scores, sides[0].labels, sides[1].labels) == pytest.approx(
        expected
    )


def test_queries_of_unknown_identities_are_left_out_of_the_ranks():
    scores = np.array([[0.9, 0.2], [0.8, 0.7], [0.3, 0.6]])
    query_labels, gallery_labels = np.array([0, 1, 7]), np.array([0, 1])
    assert top_k(scores, query_labels, gallery_labels) == 0.5
    assert mean_average_precision(scores, query_labels, gallery_labels) == 0.75  # 1 and 1 / 2


def test_a_tie_counts_against_the_encoder():
    scores = np.array([[0.5, 0.5]])
    assert top_k(scores, np.array([0]), np.array([0, 1])) == 0.0
    assert top_k(scores, np.array([0]), np.array([0, 1]), k=2) == 1.0
    assert tar_at_far(np.array([0.5, 0.5]), np.array([True, False]), far=0.0) == 0.0


def test_all_impostors_may_be_accepted():
    scores, same = np.array([0.1, 0.5]), np.array([True, False])
    assert tar_at_far(scores, same, far=1.0) == 1.0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: tar_at_far(np.ones(3), np.ones(2, bool)), r"shape \(3,\) and `same` \(2,\)"),
        (lambda: tar_at_far(np.ones(2), np.ones(2, bool)), "there is one kind alone"),
        (lambda: tar_at_far(np.ones(2), np.array([True, False]), far=2), "has to be from 0 to 1"),
        (
            lambda: top_k(np.ones((1, 2)), np.array([0]), np.array([0])),
            "1 queries and 1 images are labelled",
        ),
        (lambda: top_k(np.ones((1, 1)), np.array([0]), np.array([1])), "nothing can be found"),
        (
            lambda: tpir_at_fpir(np.ones((1, 1)), np.array([0]), np.array([0])),
            "whose identity is not",
        ),
    ],
)
def test_what_cannot_be_measured_is_told(call, said):
    with pytest.raises(InputError, match=said):
        call()
