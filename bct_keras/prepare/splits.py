"""How a data set is divided between the old encoder, the new one and the test.

A record belongs to one part, and a view (old, new, all, validation, test) is a list of parts:
images are stored once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bct_keras.data.identities import order_within_identity
from bct_keras.errors import InputError

VIEWS = ("old", "new", "all", "validation", "test")
VIEW_OF_SCENARIO = {"open": "new", "extended": "all"}  # that a new encoder is trained on


@dataclass(frozen=True)
class View:
    """Parts of a data set that are used together, such as all that a new encoder is trained on."""

    parts: tuple[str, ...]
    first_identity: int  # its labels count from here
    identities: int


@dataclass(frozen=True)
class Division:
    """How the records of a data set are divided."""

    parts: tuple[str, ...]
    # [records] uint8: where in `parts` each record's part stands; there are millions of records
    part_of: np.ndarray
    views: dict[str, View]


class WholeSplit:
    """One part, one view."""

    within = (0.0, 1.0)

    def divide(self, labels: np.ndarray, identities: int, groups: Sequence[str] | None) -> Division:
        """Returns the division of these records."""
        part_of = np.zeros(len(labels), np.uint8)
        return Division(parts=("all",), part_of=part_of, views={})


class SharedSplit:
    """Gives the old encoder a share, and holds identities out for the test and the validation.

    `within`, two shares of the source's identities, leaves out all that are not between them.
    """

    def __init__(
        self,
        old_share: float = 0.3,
        test_share: float = 0.0,
        validation_share: float = 0.0,
        within: tuple = (0.0, 1.0),
    ):
        self.within = checked_within(within)
        self.old_share = share(old_share, "old_share")
        self.held_out = HeldOut(
            test_share=share(test_share, "test_share"),
            validation_share=share(validation_share, "validation_share"),
        )


class ClassSplit(SharedSplit):
    """Gives the old encoder the first identities and the new one those after them.

    The validation's and the test's identities come last.
    """

    def divide(self, labels: np.ndarray, identities: int, groups: Sequence[str] | None) -> Division:
        """Returns the division of these records."""
        trained, validated = self.held_out.starts(identities, groups)
        old = round(self.old_share * trained)
        new = trained - old
        if not 0 < old < trained:
            raise InputError(
                f"old_share={self.old_share} of {trained} identities leaves {old} for the old "
                f"encoder and {new} for the new one; each needs at least one"
            )
        part_of = np.searchsorted([old, trained, validated], labels, side="right")
        views = {
            "old": View(("old",), first_identity=0, identities=old),
            "new": View(("new",), first_identity=old, identities=new),
            "all": View(("old", "new"), first_identity=0, identities=trained),
        }
        views |= held_out_views(trained, validated, identities)
        return Division(
            parts=("old", "new", "validation", "test"),
            part_of=part_of.astype(np.uint8),
            views=views,
        )


OLD, NEW, BOTH, VALIDATION, TEST = range(5)  # parts of a data split


class DataSplit(SharedSplit):
    """Gives the old encoder the first images of each identity, and the new one the others.

    An identity of one image is in both.
    """

    def divide(self, labels: np.ndarray, identities: int, groups: Sequence[str] | None) -> Division:
        """Returns the division of these records."""
        trained, validated = self.held_out.starts(identities, groups)
        images = np.bincount(labels, minlength=identities)
        # max(1, round(old_share * n)), and one image left for the new encoder
        most = np.maximum(images - 1, 1)
        old_images = np.clip(np.round(self.old_share * images), 1, most)
        is_old = order_within_identity(labels, images) < old_images[labels]
        part_of = np.where(is_old, OLD, NEW).astype(np.uint8)
        part_of[images[labels] == 1] = BOTH
        part_of[labels >= trained] = VALIDATION
        part_of[labels >= validated] = TEST
        views = {
            "old": View(("both", "old"), first_identity=0, identities=trained),
            "new": View(("both", "new"), first_identity=0, identities=trained),
            "all": View(("both", "new", "old"), first_identity=0, identities=trained),
        }
        views |= held_out_views(trained, validated, identities)
        parts = ("old", "new", "both", "validation", "test")
        return Division(parts=parts, part_of=part_of, views=views)


def share(value: float, name: str) -> float:
    """Returns a share of the whole; raises where it is none."""
    if not 0 <= value < 1:
        raise InputError(f"{name}={value} has to be at least 0 and below 1")
    return value


def checked_within(within: tuple) -> tuple[float, float]:
    """Returns two shares between which the identities are that are used."""
    numbers = [value for value in within if isinstance(value, int | float)]
    if len(within) != 2 or len(numbers) != 2 or not 0 <= within[0] < within[1] <= 1:
        raise InputError(
            f"within={within} has to be two shares of all identities, from 0 to 1 and the smaller "
            "one first, as in within=(0.25, 1)"
        )
    first, last = within
    return float(first), float(last)


def identities_within(
    within: tuple[float, float], identities: int, groups: Sequence[str] | None
) -> tuple[int, int]:
    """Returns the first identity that is used, and the first one after those.

    The end of one piece is the start of the next, and a group is never cut in two.
    """
    starts = []
    for share_before in within:
        start = start_of_last(identities, 1 - share_before, groups)
        starts.append(start)
    first, last = starts
    if last - first < 2:
        raise InputError(
            f"within={within} of {identities} identities leaves {last - first} (groups are kept "
            "whole); at least 2 are needed"
        )
    return first, last


@dataclass(frozen=True)
class HeldOut:
    """Shares of the identities that no encoder is trained on.

    They are for the proof (the test), and to choose an epoch by (the validation).
    """

    test_share: float
    validation_share: float

    def starts(self, identities: int, groups: Sequence[str] | None) -> tuple[int, int]:
        """Returns the first identity of the validation, and the first of the test.

        The identities before both are trained on.
        """
        tested = start_of_last(identities, self.test_share, groups)
        both = self.test_share + self.validation_share
        trained = start_of_last(identities, both, groups)
        if trained <= 0:
            name = "test_share + validation_share" if self.validation_share else "test_share"
            raise InputError(f"{name}={both:g} of {identities} identities leaves none to train on")
        if self.validation_share and trained == tested:
            raise InputError(
                f"validation_share={self.validation_share} of {identities} identities holds none "
                "out (groups are kept whole); give a larger share"
            )
        return trained, tested


def start_of_last(identities: int, share_of: float, groups: Sequence[str] | None) -> int:
    """Returns the first of the last identities that are this share of all.

    A group is never cut in two.
    """
    start = identities - round(share_of * identities)
    if not groups:
        return start
    while 0 < start < identities and groups[start] == groups[start - 1]:
        start -= 1
    return start


def held_out_views(trained: int, validated: int, identities: int) -> dict[str, View]:
    """Returns the views of the validation and of the test, those that hold any identity."""
    views = {}
    for_validation = validated - trained
    for_test = identities - validated
    if for_validation > 0:
        views["validation"] = View(
            parts=("validation",),
            first_identity=trained,
            identities=for_validation,
        )
    if for_test > 0:
        views["test"] = View(
            parts=("test",),
            first_identity=validated,
            identities=for_test,
        )
    return views


SPLITS = {"none": WholeSplit, "class": ClassSplit, "data": DataSplit}
