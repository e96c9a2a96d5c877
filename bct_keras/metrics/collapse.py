"""Tells whether an encoder has collapsed: it puts images of different people in one place.

No rate of a report says so by itself.
"""

from dataclasses import dataclass

import numpy as np

SAME_PLACE = 0.97  # a cosine from here on, between images of two identities
# Of the images; what duplicates and wrong labels of a data set come to is less.
COLLAPSED_SHARE = 0.02
TIMES_MEDIAN = (3, 5, 10)
ROWS_COMPARED = 4096  # so that millions of images cost a second; a collapse shows among these too


@dataclass(frozen=True)
class Watched:
    """Holds what `watch` saw.

    Attributes:
        images: How many were compared with each other.
        coinciding: How many of them lie within SAME_PLACE of an image of another identity.
        identities: How many identities those have.
        long: The share of embeddings whose norm is above so many times the median norm.
    """

    images: int
    coinciding: int
    identities: int
    long: dict[int, float]

    @property
    def share(self) -> float:
        """Returns the share of images that coincide with one of another identity."""
        return self.coinciding / self.images if self.images else 0.0

    @property
    def collapsed(self) -> bool:
        """Tells whether so many images coincide that it is a collapse."""
        return self.share >= COLLAPSED_SHARE

    @property
    def sentence(self) -> str:
        """Says in one sentence what was seen, whether it is a collapse or not."""
        told = (
            f"{self.coinciding:,} of {self.images:,} images ({self.share:.1%}), of "
            f"{self.identities:,} identities, lie within cosine {SAME_PLACE} of an image of "
            "another identity"
        )
        least = TIMES_MEDIAN[0]
        if self.long[least]:
            told += f", and {self.long[least]:.1%} of all norms are above {least} times the median"
        return told


def watch(embeddings: np.ndarray, labels: np.ndarray) -> Watched:
    """Looks for images of different identities in one place, and for norms far above the others.

    Args:
        embeddings: [images, dims] as the encoder gives them, so that norms can be seen; of length 1
            if need be.
        labels: [images] the identity of each.

    Example:
        >>> watch(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), np.array([0, 1, 2])).coinciding
        2
    """
    compared = min(len(labels), ROWS_COMPARED)
    spread = np.linspace(0, len(labels) - 1, compared)
    rows = np.unique(spread.astype(np.int64))
    embeddings = np.asarray(embeddings)[rows].astype(np.float32)
    labels = np.asarray(labels)[rows]
    norms = np.linalg.norm(embeddings, axis=1)
    units = embeddings / np.maximum(norms, 1e-12)[:, None]
    cosines = units @ units.T  # [images, images]
    cosines[labels[:, None] == labels[None, :]] = -1.0
    # An embedding of nothing but zeros has no direction: it is nobody's.
    coinciding = (cosines.max(axis=1, initial=-1.0) >= SAME_PLACE) | (norms == 0.0)
    return Watched(
        images=len(labels),
        coinciding=int(np.count_nonzero(coinciding)),
        identities=len(np.unique(labels[coinciding])),
        long=shares_of_long(norms),
    )


def shares_of_long(norms: np.ndarray) -> dict[int, float]:
    """Returns the share of norms [images] that are above so many times their median."""
    median = float(np.median(norms)) if len(norms) else 0.0
    shares = {}
    for times in TIMES_MEDIAN:
        shares[times] = float(np.mean(norms > times * median)) if median else 0.0
    return shares
