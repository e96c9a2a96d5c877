"""Tests HOC beside GalleryContrast; tests/oracles/hoc.py has the released code's values."""

import numpy as np
import pytest
import tensorflow as tf

from bct_keras.errors import InputError
from bct_keras.methods.gallerycontrast import Labelled, gallery_contrast
from bct_keras.methods.hoc import HOC

LABELS = np.array([0, 0, 1, 2])
NEW, OLD = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)


def penalty(method, new: np.ndarray, old: np.ndarray) -> np.ndarray:
    method.compatible_dims = 3
    method.build((None, 3))
    batch = {"old_embedding": tf.constant(old)}
    labels = tf.constant(LABELS, tf.int32)
    return method.penalty(tf.constant(new), labels, batch, None).numpy()


def test_a_row_of_its_class_adds_1_to_the_sum_wherever_it_lies():
    before = penalty(HOC(), NEW, OLD)
    moved = NEW.copy()
    moved[1] = -NEW[1]  # of the class of row 0
    after = penalty(HOC(), moved, OLD)
    assert after[0] == before[0]
    assert (after[1:] != before[1:]).all()


def test_gallerycontrasts_own_image_term_is_hocs_with_a_softplus():
    """Compares the two over one batch, each given the other's embeddings.

    HOC_i = log(sum over j of other classes of exp(s_ij) + m_i) - s_ii, where m_i counts i's class
    in the batch. GalleryContrast's p_i = log(1 + sum over j of other classes of exp(s_ij - s_ii))
    has the positive in its sum in the place of m_i; so HOC_i = log(exp(p_i) - 1 + m_i exp(-s_ii)).
    """
    mu = 10.0
    hoc = penalty(HOC(mu=mu, weight=1.0), NEW, OLD)
    old, new = tf.math.l2_normalize(OLD, axis=1), tf.math.l2_normalize(NEW, axis=1)
    labels = tf.constant(LABELS)
    of_own = gallery_contrast(
        Labelled(old, labels), new, Labelled(new, labels), temperature=1 / mu, own=1.0
    )
    of_own = of_own.numpy().astype(np.float64)
    lengths = np.linalg.norm(NEW, axis=1) * np.linalg.norm(OLD, axis=1)
    products = mu * np.sum(NEW * OLD, axis=1) / lengths
    of_class = np.array([2, 2, 1, 1])
    expected = np.log(np.expm1(of_own) + of_class * np.exp(-products))
    np.testing.assert_allclose(hoc, expected, rtol=1e-5)


def test_a_factor_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"^mu=0 of hoc has to be above 0$"):
        HOC(mu=0.0)
