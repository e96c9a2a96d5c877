import numpy as np
import pytest

from bct_keras.methods.class_features import (
    centres_and_radii,
    credible,
    means,
    normalised,
    prototypes,
    refined_prototypes,
)

RANDOM = np.random.default_rng(0)


def embeddings(classes: int = 3, records: int = 6) -> np.ndarray:
    return RANDOM.normal(size=(classes, records, 5)).astype(np.float32)


def test_the_outlier_of_a_class_is_not_credible():
    old = np.ones((1, 10, 4), np.float32) + 0.01 * RANDOM.normal(size=(1, 10, 4)).astype(np.float32)
    old[0, 7] = [-1, 1, -1, 1]
    kept = credible(old, 0.9)  # ceil(0.9 * 10) = 9
    np.testing.assert_array_equal(np.flatnonzero(~kept[0]), [7])


@pytest.mark.parametrize(("records", "expected"), [(1, 1), (2, 1), (3, 2), (7, 4)])  # ceil(0.5 n)
def test_so_many_are_credible(records, expected):
    assert credible(embeddings(2, records), 0.5).sum(1).tolist() == [expected, expected]


def test_prototypes_are_means_at_length_1():
    old = np.array([[[3.0, 0.0], [0.0, 1.0]]], np.float32)  # mean (1.5, 0.5), length sqrt(2.5)
    np.testing.assert_allclose(prototypes(old), [[1.5 / 2.5**0.5, 0.5 / 2.5**0.5]], rtol=1e-6)


def test_a_radius_leaves_outliers_out():
    # On the unit circle, two by two around angle 0, so that the centre lies on the axis; one pair
    # far out.
    angles = np.array([0.1, -0.1, 0.11, -0.11, 0.12, -0.12, 0.13, -0.13, 1.5, -1.5])
    old = np.stack([np.cos(angles), np.sin(angles)], axis=1)[None]
    centres, radii, kept = centres_and_radii(old)
    distances = np.linalg.norm(old[0] - old[0].mean(0), axis=1)
    assert kept.tolist() == [8]
    np.testing.assert_allclose(radii, [distances[:8].max()])
    np.testing.assert_allclose(centres[0], old[0].mean(0))


def by_inverse(old, new, temperature, smoothing, axis):
    """Computes the equation as the paper has it, class by class."""
    found = []
    for class_old, class_new in zip(old, new, strict=True):
        directions = class_new / np.linalg.norm(class_new, axis=1, keepdims=True)
        edges = np.exp(directions @ directions.T / temperature)
        np.fill_diagonal(edges, 0.0)
        edges /= edges.sum(axis, keepdims=True)
        spread = (1 - smoothing) * np.linalg.inv(np.eye(len(edges)) - smoothing * edges)
        found.append((spread @ class_old).mean(0))
    return np.stack(found)


@pytest.mark.parametrize(("temperature", "smoothing"), [(0.05, 0.9), (0.5, 0.3)])
def test_refined_prototypes_are_those_of_the_inverse(temperature, smoothing):
    old, new = embeddings().astype(np.float64), embeddings().astype(np.float64)
    found = refined_prototypes(old, normalised(new), temperature, smoothing)
    np.testing.assert_allclose(
        found, by_inverse(old, new, temperature, smoothing, axis=1), rtol=1e-9
    )


def test_the_released_refinement_over_columns_leaves_plain_means():
    old, new = embeddings().astype(np.float64), embeddings().astype(np.float64)
    np.testing.assert_allclose(by_inverse(old, new, 0.05, 0.9, axis=0), means(old), rtol=1e-9)


def test_over_rows_an_outlier_loses_weight():
    new = np.ones((1, 6, 4), np.float32) + 0.05 * RANDOM.normal(size=(1, 6, 4)).astype(np.float32)
    new[0, 2] = [1, -1, 1, -1]
    old = np.eye(6, dtype=np.float32)[None]  # so that the prototype shows the weight of each image
    weights = refined_prototypes(old, normalised(new), 0.05, 0.9)[0]
    assert weights.sum() == pytest.approx(1.0, rel=1e-5)
    assert weights[2] < 0.5 * np.delete(weights, 2).min()


def test_a_class_of_one_image_is_that_image():
    old = embeddings(2, 1)
    np.testing.assert_array_equal(refined_prototypes(old, embeddings(2, 1), 0.05, 0.9), old[:, 0])
