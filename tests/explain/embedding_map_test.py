"""Where old and new embeddings lie."""

import numpy as np
import pytest

from bct_keras.explain.embedding_map import IDENTITIES, PROJECTIONS, Maps
from bct_keras.metrics.verification import Embedded
from bct_keras.pages import plots


def clusters(identities: int, spread: float, seed: int) -> Embedded:
    """Returns five images of each identity around an axis of its own."""
    labels = np.repeat(np.arange(identities), 5)
    embeddings = np.eye(16)[labels] + np.random.default_rng(seed).normal(
        0, spread, (len(labels), 16)
    )
    return Embedded(
        (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32), labels
    )


@pytest.fixture
def maps() -> Maps:
    old, new = clusters(12, 0.05, 0), clusters(12, 0.05, 1)
    return Maps(old, new, [11, 3, 11], {identity: f"person {identity}" for identity in range(12)})


def test_identities_that_are_wanted_come_first_and_others_fill_the_map(maps):
    assert list(maps.names) == [11, 3, 0, 1, 2, 4, 5, 6, 7, 8]
    assert len(maps.names) == IDENTITIES
    assert sorted(set(maps.labels.tolist())) == sorted(maps.names)


@pytest.mark.parametrize("name", list(PROJECTIONS))
def test_images_of_an_identity_lie_together_old_and_new(maps, name):
    both = np.concatenate(list(maps.embeddings.values()))
    places, labels = PROJECTIONS[name](both), np.tile(maps.labels, 2)
    assert places.shape == (len(labels), 2)
    middles = np.stack([places[labels == identity].mean(0) for identity in maps.names])
    own = np.array([list(maps.names).index(label) for label in labels])
    nearest = np.linalg.norm(places[:, None] - middles, axis=2).argmin(1)
    # In two of ten directions PCA can tell some identities apart, t-SNE all.
    assert np.mean(nearest == own) > {"PCA": 0.3, "t-SNE": 0.95}[name]


def test_nearness_is_high_for_compatible_embeddings_and_nothing_for_others(maps):
    found = maps.nearness()
    # noise of 0.05 in 16 coordinates: cos = 1 / (1 + 16 * 0.05^2) = 0.96
    assert found["same image"] == pytest.approx(0.96, abs=0.02)
    assert found["other identities"] == pytest.approx(0.0, abs=0.02)


def test_plots_have_every_identity_by_name(maps):
    drawn = {each.name: plots.as_svg(each.draw, each.name) for each in maps.plots()}
    assert list(drawn) == ["pca", "tsne"]
    for svg in drawn.values():
        for called in maps.names.values():
            assert called in svg
