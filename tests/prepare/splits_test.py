import numpy as np
import pytest

from bct_keras.errors import InputError
from bct_keras.prepare.splits import (
    BOTH,
    NEW,
    OLD,
    TEST,
    VALIDATION,
    ClassSplit,
    DataSplit,
    WholeSplit,
    identities_within,
)

# MS1Mv3 (the papers' training set): 5,179,510 images, 93,431 identities, cut into 28,029 and
# 65,402.
IMAGES, IDENTITIES = 5_179_510, 93_431


@pytest.fixture(scope="module")
def long_labels() -> np.ndarray:
    """As many images and identities as MS1Mv3 has; every 100th identity has one image, the others 2
    and more.
    """
    random = np.random.default_rng(0)
    images = 2 + random.multinomial(
        IMAGES - 2 * IDENTITIES, random.dirichlet(np.full(IDENTITIES, 1.5))
    )
    single = np.arange(0, IDENTITIES, 100)
    taken = images[single].sum() - len(single)
    images[single] = 1
    images[1] += taken
    return np.repeat(np.arange(IDENTITIES), images)


def part_sizes(division) -> dict[str, int]:
    return dict(
        zip(
            division.parts,
            np.bincount(division.part_of, minlength=len(division.parts)).tolist(),
            strict=True,
        )
    )


def test_class_split_of_as_many_identities_as_the_papers(long_labels):
    division = ClassSplit(old_share=0.3).divide(long_labels, IDENTITIES, None)
    # 0.3 * 93,431 = 28,029.3
    assert (division.views["old"].identities, division.views["new"].identities) == (28_029, 65_402)
    assert division.views["new"].first_identity == 28_029
    assert division.views["all"].identities == IDENTITIES
    assert set(division.views) == {"old", "new", "all"}
    first_new = np.searchsorted(long_labels, 28_029)
    assert np.all(division.part_of[:first_new] == division.parts.index("old"))
    assert np.all(division.part_of[first_new:] == division.parts.index("new"))


def test_data_split_takes_the_first_images_of_each_identity(long_labels):
    division = DataSplit(old_share=0.3).divide(long_labels, IDENTITIES, None)
    images = np.bincount(long_labels)
    old = np.array(
        [max(1, round(0.3 * count)) for count in images.tolist()]
    )  # the papers' rule, in Python itself
    order = np.arange(IMAGES) - np.repeat(np.cumsum(images) - images, images)
    expected = np.where(order < old[long_labels], OLD, NEW)
    expected[images[long_labels] == 1] = BOTH
    np.testing.assert_array_equal(division.part_of, expected)
    sizes = part_sizes(division)
    assert sizes["old"] + sizes["both"] == old.sum()
    assert sizes["both"] == 935  # every 100th of 93,431
    assert sum(sizes.values()) == IMAGES
    assert sizes["test"] == 0


def test_identities_of_one_image_are_in_both_views_of_a_data_split():
    division = DataSplit().divide(np.array([0, 1, 1, 2, 1]), 3, None)
    assert division.part_of.tolist() == [BOTH, OLD, NEW, BOTH, NEW]
    assert "both" in division.views["old"].parts
    assert "both" in division.views["new"].parts
    assert sorted(division.views["all"].parts) == ["both", "new", "old"]


@pytest.mark.parametrize(
    ("images", "old"),
    # 0.3 n = 0.6, 0.9, 1.2, 1.5, 1.8, 2.7, 3.0, 4.5: halves go to the even number, as Python rounds
    [(2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (9, 3), (10, 3), (15, 4)],
)
def test_how_the_share_of_an_identity_is_rounded(images, old):
    division = DataSplit(old_share=0.3).divide(np.zeros(images, np.int64), 1, None)
    assert (division.part_of == OLD).sum() == old


def test_a_data_split_leaves_each_encoder_an_image():
    division = DataSplit(old_share=0.9).divide(np.array([0, 0, 1, 1, 1]), 2, None)
    assert division.part_of.tolist() == [OLD, NEW, OLD, OLD, NEW]
    division = DataSplit(old_share=0.0).divide(np.array([0, 0, 1, 1, 1]), 2, None)
    assert division.part_of.tolist() == [OLD, NEW, OLD, NEW, NEW]


def test_records_of_an_identity_need_not_stand_together():
    division = DataSplit(old_share=0.5).divide(np.array([1, 0, 1, 0, 0, 0, 1, 1]), 2, None)
    assert division.part_of.tolist() == [OLD, OLD, OLD, OLD, NEW, NEW, NEW, NEW]


@pytest.mark.parametrize("split", [ClassSplit(0.5, 0.25), DataSplit(0.5, 0.25)])
def test_the_last_identities_are_held_out(split):
    labels = np.repeat(np.arange(8), 4)
    division = split.divide(labels, 8, None)
    test = division.parts.index("test")
    assert np.array_equal(division.part_of == test, labels >= 6)
    view = division.views["test"]
    assert (view.parts, view.first_identity, view.identities) == (("test",), 6, 2)
    assert division.views["all"].identities == 6


def test_a_group_is_never_divided():
    # 2 of 8 would be held out; the last three are of one group, so all of them are.
    groups = ["a", "a", "b", "b", "b", "c", "c", "c"]
    division = ClassSplit(0.4, 0.25).divide(np.arange(8), 8, groups)
    assert division.views["test"].first_identity == 5
    assert division.views["all"].identities == 5


def test_without_a_split_there_are_no_views():
    division = WholeSplit().divide(np.arange(3), 3, None)
    assert (division.parts, division.part_of.tolist(), division.views) == (("all",), [0, 0, 0], {})


@pytest.mark.parametrize("share", [-0.1, 1.0, 2])
@pytest.mark.parametrize("name", ["old_share", "test_share"])
@pytest.mark.parametrize("split", [ClassSplit, DataSplit])
def test_a_share_is_at_least_0_and_below_1(split, name, share):
    with pytest.raises(InputError, match=f"{name}={share} has to be"):
        split(**{name: share})


def test_a_class_split_leaves_each_encoder_an_identity():
    with pytest.raises(
        InputError, match=r"old_share=0.1 of 4 identities leaves 0 for the old encoder and 4"
    ):
        ClassSplit(old_share=0.1).divide(np.arange(4), 4, None)


def test_one_group_cannot_be_held_out():
    with pytest.raises(InputError, match=r"test_share=0.5 of 4 identities leaves none"):
        ClassSplit(test_share=0.5).divide(np.arange(4), 4, ["a"] * 4)


def test_parts_are_numbered_as_they_are_named():
    assert DataSplit().divide(np.array([0, 0]), 1, None).parts == (
        "old",
        "new",
        "both",
        "validation",
        "test",
    )
    assert (OLD, NEW, BOTH, VALIDATION, TEST) == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("split", [ClassSplit, DataSplit])
def test_identities_may_be_held_out_to_choose_an_epoch_by(split):
    """Of 20 identities the last 4 are for the test, 3 for the validation; 13 are trained on."""
    labels = np.repeat(np.arange(20), 4)
    division = split(test_share=0.2, validation_share=0.15).divide(labels, 20, None)
    validation, test = division.views["validation"], division.views["test"]
    assert (validation.first_identity, validation.identities) == (13, 3)
    assert (test.first_identity, test.identities) == (16, 4)
    for name, view in division.views.items():
        rows = np.isin(division.part_of, [division.parts.index(part) for part in view.parts])
        here = np.unique(labels[rows])
        assert here.min() == view.first_identity, name
        assert len(here) == view.identities, name
    # Without it all is as it was.
    plain = split(test_share=0.2).divide(labels, 20, None)
    assert set(plain.views) == {"old", "new", "all", "test"}
    assert plain.views["test"] == test
    assert plain.views["all"].identities == 16


@pytest.mark.parametrize("split", [ClassSplit, DataSplit])
def test_no_group_is_divided_between_validation_and_test(split):
    labels, groups = (
        np.repeat(np.arange(20), 2),
        [f"group-{identity // 4}" for identity in range(20)],
    )
    division = split(test_share=0.2, validation_share=0.3).divide(labels, 20, groups)
    # 20 - round(0.5 * 20) = 10 is within the group of 8 to 11
    assert {
        name: view.first_identity
        for name, view in division.views.items()
        if name in ("validation", "test")
    } == {
        "validation": 8,
        "test": 16,
    }
    with pytest.raises(
        InputError,
        match=r"validation_share=0.1 of 20 identities holds none out \(groups are kept whole",
    ):
        split(test_share=0.15, validation_share=0.1).divide(labels, 20, ["a"] * 12 + ["b"] * 8)
    with pytest.raises(
        InputError,
        match=r"test_share \+ validation_share=1.4 of 20 identities leaves none to train on",
    ):
        split(test_share=0.7, validation_share=0.7).divide(labels, 20, None)


def test_two_pieces_share_out_all_identities_and_cut_no_group():
    groups = ["a"] * 3 + ["b"] * 4 + ["c"] * 3
    # 0.5 of 10 is in b, which then goes with what comes after
    assert identities_within((0.0, 0.5), 10, groups) == (0, 3)
    assert identities_within((0.5, 1.0), 10, groups) == (3, 10)
    assert identities_within((0.0, 1.0), 10, groups) == (0, 10)
    assert identities_within((0.25, 0.5), 100, None) == (25, 50)
    with pytest.raises(InputError, match=r"leaves 0 \(groups are kept whole\); at least 2"):
        identities_within((0.0, 0.2), 10, groups)


@pytest.mark.parametrize("within", [(0.5,), (0.5, 0.5), (-0.1, 1), (0, 1.5), ("a", 1)])
def test_shares_that_are_no_piece(within):
    with pytest.raises(InputError, match="has to be two shares of all identities"):
        ClassSplit(within=within)
