import numpy as np
import pytest

from bct_keras.metrics import collapse
from bct_keras.metrics.collapse import watch


def spread(identities: int, images: int, dims: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Returns each identity in a direction of its own, its images around it."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(identities), images)
    centres = random.normal(size=(identities, dims))
    return centres[labels] + 0.05 * random.normal(size=(len(labels), dims)), labels


def test_images_of_one_identity_may_coincide():
    seen = watch(*spread(50, 4))
    assert (seen.images, seen.coinciding, seen.share, seen.identities, seen.collapsed) == (
        200,
        0,
        0.0,
        0,
        False,
    )
    assert seen.long == {3: 0.0, 5: 0.0, 10: 0.0}


def test_a_run_that_collapsed_in_part():
    """Collapses as one run did on real faces.

    73 of 1,719 images were in one place, their norms ten times the median.
    """
    embeddings, labels = spread(573, 3)
    embeddings[: 73 * 3 : 3] = 11 * embeddings[0]  # the first image of 73 identities
    seen = watch(embeddings, labels)
    # Those of the first identity stay near it, so they coincide with the 72 others as well.
    assert (seen.images, seen.coinciding, seen.identities) == (1719, 75, 73)
    assert seen.collapsed  # 75 / 1719 = 4.4 %
    assert seen.long == {times: pytest.approx(73 / 1719) for times in (3, 5, 10)}
    assert (
        seen.sentence
        == "75 of 1,719 images (4.4%), of 73 identities, lie within cosine 0.97 of an image of"
        " another identity, and 4.2% of all norms are above 3 times the median"
    )


@pytest.mark.parametrize(("cosine", "coinciding"), [(0.975, 2), (0.965, 0)])
def test_where_the_limit_lies(cosine, coinciding):
    embeddings = np.array([[1.0, 0.0, 0.0], [cosine, np.sqrt(1 - cosine**2), 0.0], [0.0, 0.0, 1.0]])
    assert watch(embeddings, np.array([0, 1, 2])).coinciding == coinciding


@pytest.mark.parametrize(("alike", "collapsed"), [(1, False), (2, True)])
def test_a_few_wrong_labels_are_no_collapse(alike, collapsed):
    embeddings, labels = spread(150, 1)
    # One pair is 2 of 150 images, 1.3 %; two pairs are 2.7 %.
    for pair in range(alike):
        embeddings[2 * pair + 1] = embeddings[2 * pair]
    assert watch(embeddings, labels).coinciding == 2 * alike
    assert watch(embeddings, labels).collapsed is collapsed


def test_norms_are_told_by_how_far_they_stand_out():
    embeddings, labels = spread(100, 1)
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    units[:4] *= np.array([[2.9], [4.0], [6.0], [11.0]])
    seen = watch(units, labels)
    assert seen.long == {3: 0.03, 5: 0.02, 10: 0.01}
    assert not seen.collapsed


def test_an_encoder_that_gives_nothing_has_collapsed():
    seen = watch(np.zeros((6, 4)), np.arange(6))
    assert (seen.coinciding, seen.collapsed) == (6, True)
    assert not watch(np.zeros((0, 4)), np.arange(0)).collapsed


def test_of_many_images_some_are_compared():
    labels = np.arange(3 * collapse.ROWS_COMPARED)
    seen = watch(np.ones((len(labels), 2), np.float32), labels)
    assert (seen.images, seen.coinciding) == (collapse.ROWS_COMPARED, collapse.ROWS_COMPARED)
