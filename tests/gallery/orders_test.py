import numpy as np
import pytest

from bct_keras import specs
from bct_keras.errors import InputError
from bct_keras.gallery.kinds import ORDERS
from bct_keras.gallery.orders import Group, Listed

IDS = ["d", "a", "c", "b"]
LABELS = ["2", "1", "2", "1"]
# "d" and "b" were made by one encoder, of two dimensions, "a" and "c" by another.
GROUPS = [
    Group(np.array([0, 3]), np.array([[1.0, 0.0], [0.0, 1.0]])),
    Group(np.array([1, 2]), np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])),
]


def order(spec: str) -> list[str]:
    entries = Listed(IDS, LABELS, lambda: GROUPS)
    return [IDS[position] for position in specs.build(ORDERS, spec)(entries)]


def test_stored_is_as_they_were_added():
    assert order("stored") == IDS


def test_by_label_does_one_identity_after_the_other():
    assert order("by_label") == ["a", "b", "d", "c"]


def test_random_depends_on_its_seed_alone():
    orders = {tuple(order(f"random(seed={seed})")) for seed in range(20)}
    assert order("random(seed=3)") == order("random(seed=3)")
    assert len(orders) > 5
    assert all(sorted(each) == sorted(IDS) for each in orders)


def test_farthest_is_by_the_distance_from_the_mean_of_the_label_among_its_encoders_entries():
    # "p" and "r" lie as far from their mean, (2, 1) / 3, by 0.47 as "q" does not, by 0.94.
    ids, labels = ["p", "q", "r", "s"], ["x", "x", "x", "y"]
    group = Group(np.arange(4), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]))
    order_of = specs.build(ORDERS, "farthest")
    assert order_of(Listed(ids, labels, lambda: [group])).tolist() == [1, 0, 2, 3]
    # No label of GROUPS is there twice by the same encoder: each entry is its own mean.
    assert order("farthest") == IDS


def test_listed_comes_first_and_then_the_others_as_they_were_added(tmp_path):
    (tmp_path / "often.txt").write_text("b\nnot in this gallery\nc\nb\n")
    assert order(f"listed({tmp_path}/often.txt)") == ["b", "c", "d", "a"]


def test_a_list_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(InputError, match=r"missing\.txt cannot be read: No such file"):
        order(f"listed({tmp_path}/missing.txt)")
    (tmp_path / "photo.txt").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"photo\.txt, byte 0: this is no text in UTF-8"):
        order(f"listed({tmp_path}/photo.txt)")
