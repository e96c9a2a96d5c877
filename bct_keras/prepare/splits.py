"""How a data set is divided between the old encoder, the new one and the test.

A record belongs to one part, and a view (old, new, all, validation, test) is a list of parts:
images are stored once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bct_keras.data.identities import order_within_identity
from bct_keras.errors import InputError

VIEW_OF_SCENARIO = {"open": "new", "extended": "all"}  # that a new encoder is trained on


@dataclass(frozen=True)
class View:
    parts: tuple[str, ...]
    first_identity: int  # its labels count from here
    identities: int


@dataclass(frozen=True)
class Division:
    parts: tuple[str, ...]
    part_of: (
        np.ndarray
    )  # [records] uint8: where in `parts` each record's part stands; there are millions of records
    views: dict[str, View]


class WholeSplit:
    """One part, one view."""

    def divide(self, labels: np.ndarray, identities: int, groups: Sequence[str] | None) -> Division:
        return Division(("all",), np.zeros(len(labels), np.uint8), {})


class ClassSplit:
    """The old encoder's identities come first, the new one's after them, then the validation's, the
    test's last.
    """

    def __init__(
        self, old_share: float = 0.3, test_share: float = 0.0, validation_share: float = 0.0
    ):
        self.old_share = share(old_share, "old_share")
        self.held_out = HeldOut(
            share(test_share, "test_share"), share(validation_share, "validation_share")
        )

    def divide(self, labels: np.ndarray, identities: int, groups: Sequence[str] | None) -> Division:
        trained, validated = self.held_out.starts(identities, groups)
        old = round(self.old_share * trained)
        if not 0 < old < trained:
            raise InputError(
                f"old_share={self.old_share} of {trained} identities leaves {old} for the old"
                f" encoder and {trained - old} for the new one; each needs at least one"
            )
        part_of = np.searchsorted([old, trained, validated], labels, side="right").astype(np.uint8)
        views = {
            "old": View(("old",), 0, old),
            "new": View(("new",), old, trained - old),
            "all": View(("old", "new"), 0, trained),
        }
        views |= held_out_views(trained, validated, identities)
        return Division(("old", "new", "validation", "test"), part_of, views)


OLD, NEW, BOTH, VALIDATION, TEST = range(5)  # parts of a data split


class DataSplit:
    """The old encoder's images are the first of each identity; an identity of one image is in both."""

    def __init__(
        self, old_share: float = 0.3, test_share: float = 0.0, validation_share: float = 0.0
    ):
        self.old_share = share(old_share, "old_share")
        self.held_out = HeldOut(
            share(test_share, "test_share"), share(validation_share, "validation_share")
        )

    def divide(self, labels: np.ndarray, identities: int, groups: Sequence[str] | None) -> Division:
        trained, validated = self.held_out.starts(identities, groups)
        images = np.bincount(labels, minlength=identities)
        # max(1, round(old_share * n)), and one image left for the new encoder; identities of one
        # are in both
        old_images = np.clip(np.round(self.old_share * images), 1, np.maximum(images - 1, 1))
        part_of = np.where(
            order_within_identity(labels, images) < old_images[labels], OLD, NEW
        ).astype(np.uint8)
        part_of[images[labels] == 1] = BOTH
        part_of[labels >= trained] = VALIDATION
        part_of[labels >= validated] = TEST
        views = {
            "old": View(("both", "old"), 0, trained),
            "new": View(("both", "new"), 0, trained),
            "all": View(("both", "new", "old"), 0, trained),
        }
        views |= held_out_views(trained, validated, identities)
        return Division(("old", "new", "both", "validation", "test"), part_of, views)


def share(value: float, name: str) -> float:
    if not 0 <= value < 1:
        raise InputError(f"{name}={value} has to be at least 0 and below 1")
    return value


@dataclass(frozen=True)
class HeldOut:
    """Shares of the identities that no encoder is trained on: for the proof, and to choose an epoch
    by.
    """

    test_share: float
    validation_share: float

    def starts(self, identities: int, groups: Sequence[str] | None) -> tuple[int, int]:
        """The first identity of the validation's, and the first of the test's; the ones before both
        are trained on.
        """
        tested = start_of_last(identities, self.test_share, groups)
        both = self.test_share + self.validation_share
        trained = start_of_last(identities, both, groups)
        if trained <= 0:
            name = "test_share + validation_share" if self.validation_share else "test_share"
            raise InputError(f"{name}={both:g} of {identities} identities leaves none to train on")
        if self.validation_share and trained == tested:
            raise InputError(
                f"validation_share={self.validation_share} of {identities} identities holds none"
                " out (groups are kept whole); give a larger share"
            )
        return trained, tested


def start_of_last(identities: int, share_of: float, groups: Sequence[str] | None) -> int:
    """The first of the last identities that are this share of all; a group is never cut in two."""
    start = identities - round(share_of * identities)
    if groups:
        while 0 < start < identities and groups[start] == groups[start - 1]:
            start -= 1
    return start


def held_out_views(trained: int, validated: int, identities: int) -> dict[str, View]:
    """Those that hold any identity."""
    parts = {"validation": (trained, validated), "test": (validated, identities)}
    return {
        name: View((name,), first, end - first)
        for name, (first, end) in parts.items()
        if end > first
    }


SPLITS = {"none": WholeSplit, "class": ClassSplit, "data": DataSplit}
