import pytest

from bct_keras import specs
from bct_keras.errors import InputError
from bct_keras.gallery import ORDERS

IDS = ["d", "a", "c", "b"]
LABELS = ["2", "1", "2", "1"]


def order(spec: str) -> list[str]:
    return [IDS[position] for position in specs.build(ORDERS, spec)(IDS, LABELS)]


def test_stored_is_as_they_were_added():
    assert order("stored") == IDS


def test_by_label_does_one_identity_after_the_other():
    assert order("by_label") == ["a", "b", "d", "c"]


def test_random_depends_on_its_seed_alone():
    orders = {tuple(order(f"random(seed={seed})")) for seed in range(20)}
    assert order("random(seed=3)") == order("random(seed=3)")
    assert len(orders) > 5
    assert all(sorted(each) == sorted(IDS) for each in orders)


def test_listed_comes_first_and_then_the_others_as_they_were_added(tmp_path):
    (tmp_path / "often.txt").write_text("b\nnot in this gallery\nc\nb\n")
    assert order(f"listed({tmp_path}/often.txt)") == ["b", "c", "d", "a"]


def test_a_list_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(InputError, match=r"missing\.txt cannot be read: No such file"):
        order(f"listed({tmp_path}/missing.txt)")
    (tmp_path / "photo.txt").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"photo\.txt, byte 0: this is no text in UTF-8"):
        order(f"listed({tmp_path}/photo.txt)")
