"""Tests LCE on classes without old images, heads of every kind, and what is refused.

tests/oracles/lce.py has the released code's values.
"""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from prepared import CLASSES, DIMS, class_means, random_new, ready, unit

from bct_keras import specs
from bct_keras.errors import InputError
from bct_keras.heads import HEADS
from bct_keras.methods.lce import LCE
from bct_keras.methods.method import Training
from bct_keras.methods.old_embeddings import OldEmbeddings

LABELS = tf.constant([0, 1, 2, 3, 4, 5], tf.int32)


def head_named(spec: str) -> Any:
    head = specs.build(HEADS, spec, classes=CLASSES)
    head.build((None, DIMS))
    return head


def set_weights(head: Any, seed: int = 1) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=head.class_weights.shape)
    head.class_weights.assign(values)
    return values


def test_stored_embeddings_give_the_centres_and_the_farthest_of_each_class(stored, old, labels):
    method = ready(LCE(), stored)
    directions = unit(old)
    centres = class_means(directions, labels)
    cosines = np.sum(directions * centres[labels], axis=1)
    least = [cosines[labels == label].min() for label in range(CLASSES)]
    np.testing.assert_allclose(method.old_centres.numpy(), centres, atol=1e-6)
    np.testing.assert_allclose(method.old_cosines.numpy(), least, atol=1e-6)


def test_every_old_image_is_within_its_class_s_reach(stored, old, labels):
    method = ready(LCE(), stored)
    outside = method.outside(tf.constant(5.0 * old), tf.constant(labels, tf.int32))
    np.testing.assert_allclose(outside, 0.0, atol=1e-6)
    far = method.outside(tf.constant(-old), tf.constant(labels, tf.int32))
    assert (far.numpy() > 0).all()


def test_every_centre_of_a_class_is_bound(stored):
    method, head = ready(LCE(), stored), head_named("subcenter_arcface(centres=2)")
    weights = unit(set_weights(head).reshape(CLASSES, 2, DIMS))
    expected = np.square(weights - method.old_centres.numpy()[:, None]).mean()
    found = method.alignment(LABELS, {}, head)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_of_sampled_classes_those_of_the_step_are_bound(stored):
    method, head = ready(LCE(), stored), head_named("arcface(sample_rate=0.5, seed=0)")
    two = LABELS[1:3]
    rows = head.rows(two, 7)
    seen = rows.classes.numpy()
    assert len(seen) == 3
    expected = np.square(unit(rows.weights.numpy()) - method.old_centres.numpy()[seen]).mean()
    found = method.alignment(two, {"class_rows": rows}, head)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_classes_without_old_images_are_bound_to_nothing():
    old = OldEmbeddings(np.eye(2, 3), labels=[0, 2])
    method: Any = LCE()
    method.prepare(old, Training(classes=4, compatible_dims=3))
    method.build((None, 3))
    head = specs.build(HEADS, "arcface", classes=4)
    head.build((None, 3))
    weights = unit(set_weights(head))
    known = np.array([0, 2])
    expected = np.square(weights[known] - np.eye(2, 3)).mean()
    labels = tf.constant([0, 1, 2, 3])
    np.testing.assert_allclose(method.alignment(labels, {}, head), expected, rtol=1e-5)
    outside = method.outside(tf.constant(-np.ones((4, 3), np.float32)), labels).numpy()
    np.testing.assert_array_equal(outside > 0, [True, False, True, False])


def test_a_wider_embedding_is_bound_by_its_first_coordinates():
    old = OldEmbeddings(np.eye(2, 3), labels=[0, 1])
    method: Any = LCE()
    method.prepare(old, Training(classes=2, compatible_dims=3))
    method.build((None, 5))
    head = specs.build(HEADS, "arcface", classes=2)
    head.build((None, 5))
    weights = unit(set_weights(head)[:, :3])
    expected = np.square(weights - np.eye(2, 3)).mean()
    np.testing.assert_allclose(method.alignment(LABELS, {}, head), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("simplex", "those of this head are not trained"),
        ("arcface(sharded=true)", "lce needs the class weights of all classes together"),
    ],
)
def test_heads_that_it_cannot_bind_are_refused(stored, spec, said):
    method = ready(LCE(), stored)
    new = tf.constant(random_new(len(LABELS)))
    with pytest.raises(InputError, match=said):
        method.penalty(new, LABELS, {}, head_named(spec))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cosine": "raw"}, r"^cosine='raw' of lce has to be unit or released$"),
        ({"perturb": -1}, r"^perturb=-1 of lce has to be at least 0$"),
        ({"neighbours": 0}, r"^neighbours=0 of lce has to be at least 1$"),
    ],
)
def test_options_that_are_none_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        LCE(**options)
