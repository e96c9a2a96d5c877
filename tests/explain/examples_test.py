"""Which queries are shown."""

import numpy as np
import pytest

from bct_keras.errors import InputError
from bct_keras.explain.examples import NEGATIVE, find_examples
from bct_keras.metrics.verification import Embedded

ANGLES_OF_GALLERY = (0.0, 90.0)  # identities 0 and 1
# identity, old angle, new angle: an angle below 45 degrees is nearer to identity 0
QUERIES = [
    (0, 10.0, 60.0),  # negative flip
    (0, 20.0, 80.0),  # negative flip, wrong by more
    (1, 30.0, 70.0),  # positive flip
    (0, 50.0, 55.0),  # wrong with both
    (1, 85.0, 80.0),  # right with both
]


def embedded(labels, angles) -> Embedded:
    radians = np.deg2rad(np.array(angles))
    return Embedded(
        np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float32), np.array(labels)
    )


def test_kinds_and_their_shares_and_what_each_is_taken_for():
    labels, old, new = zip(*QUERIES, strict=True)
    gallery = embedded([0, 1, 0], [*ANGLES_OF_GALLERY, -5.0])
    found = find_examples(embedded(labels, old), embedded(labels, new), gallery)
    assert found.shares == {
        "negative flip": 0.4,
        "positive flip": 0.2,
        "wrong with both": 0.2,
        "right with both": 0.2,
    }
    # Negative flips first, of them the one that is wrong by most; own: the nearest of its
    # identity's images.
    assert [(each.kind, each.query, each.own, each.other) for each in found.chosen] == [
        ("negative flip", 1, 0, 1),
        ("negative flip", 0, 0, 1),
        ("positive flip", 2, 1, 0),
        ("wrong with both", 3, 0, 1),
        ("right with both", 4, 1, 0),
    ]


def test_no_more_than_that_many_of_each_kind_are_shown():
    labels, count = [0] * 20, NEGATIVE.shown
    old, new = embedded(labels, [10.0] * 20), embedded(labels, np.linspace(50, 88, 20))
    found = find_examples(old, new, embedded([0, 1], ANGLES_OF_GALLERY))
    assert found.shares["negative flip"] == 1.0
    assert [each.query for each in found.chosen] == list(range(19, 19 - count, -1))


def test_one_identity_is_too_few():
    one = embedded([0, 0], [0.0, 1.0])
    with pytest.raises(InputError, match="all of one identity; at least 2 are needed"):
        find_examples(one, one, one)
