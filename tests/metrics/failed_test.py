"""An embedding of nothing but zeros, of an image that could not be embedded, is nobody's."""

import numpy as np

from bct_keras.metrics.merging import pairs_of
from bct_keras.metrics.order import order_constraints
from bct_keras.metrics.verification import Embedded, Sides

QUERY = Embedded(np.array([[1.0, 0.0]], np.float32), np.array([0]))
# The first is of the query's identity and could not be embedded; the second lies opposite.
GALLERY = Embedded(np.array([[0.0, 0.0], [-0.6, 0.8]], np.float32), np.array([0, 2]))


def test_no_image_is_farther_than_one_that_could_not_be_embedded():
    shares = order_constraints(QUERY, new=GALLERY, old=GALLERY)
    assert set(shares.values()) == {0.0}


def test_a_calibration_learns_its_cosine_as_the_lowest():
    pairs = pairs_of(Sides(QUERY, GALLERY), half=0)
    assert pairs.genuine.tolist() == [-1.0]
    assert np.allclose(pairs.impostors, [-0.6])
