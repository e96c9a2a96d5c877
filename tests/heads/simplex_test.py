"""Tests the head of fixed class weights; tests/oracles/hoc.py has the released code's values."""

import numpy as np
import pytest
import tensorflow as tf

from bct_keras.errors import InputError
from bct_keras.heads.simplex import Simplex, corners

EMBEDDINGS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


@pytest.mark.parametrize("dims", [1, 2, 7, 64])
def test_every_two_corners_are_equally_far_apart(dims):
    found = corners(dims)
    expected = np.full((dims + 1, dims + 1), -1 / dims)
    np.fill_diagonal(expected, 1.0)
    np.testing.assert_allclose(found @ found.T, expected, atol=1e-12)


def test_corners_of_later_classes_count_in_the_loss_and_not_in_the_scores():
    head = Simplex(classes=3)
    losses = head(tf.constant(EMBEDDINGS), tf.constant([0, 1, 2, 0, 1, 2]))
    logits = EMBEDDINGS @ corners(4).T  # [6, 5]: two more than there are classes
    own = logits[np.arange(6), [0, 1, 2, 0, 1, 2]]
    np.testing.assert_allclose(losses, np.log(np.exp(logits).sum(1)) - own, rtol=1e-5)
    np.testing.assert_allclose(head.scores(tf.constant(EMBEDDINGS)), logits[:, :3], rtol=1e-5)


def test_an_encoder_of_more_classes_has_the_old_ones_where_they_were():
    few, many = Simplex(classes=2), Simplex(classes=5)
    for head in (few, many):
        head.build((None, 4))
    np.testing.assert_array_equal(few.class_weights, many.class_weights)


def test_nothing_of_it_is_trained():
    head = Simplex(classes=5)
    head.build((None, 4))
    assert head.trainable_variables == []


def test_too_few_dimensions_are_told():
    with pytest.raises(
        InputError,
        match=r"^the simplex of 6 classes needs embeddings of 5 dimensions at least, and these",
    ):
        Simplex(classes=6).build((None, 4))
