"""Divides each identity's images into gallery and queries."""

from dataclasses import dataclass

import numpy as np

from bct_keras.data.identities import order_within_identity
from bct_keras.metrics.verification import Embedded, Sides


@dataclass(frozen=True)
class Division:
    """Says which images are queries and which are in the gallery."""

    query: np.ndarray  # [queries] rows of images
    gallery: np.ndarray  # [gallery] rows of images

    def sides(self, embeddings: np.ndarray, labels: np.ndarray) -> Sides:
        """Returns the queries and the gallery.

        Args:
            embeddings: [images, dims] of all images, of length 1.
            labels: [images] their identities.
        """
        query = Embedded(embeddings[self.query], labels[self.query])
        gallery = Embedded(embeddings[self.gallery], labels[self.gallery])
        return Sides(query, gallery)


def divide(labels: np.ndarray, order: np.ndarray, gallery_share: float = 0.5) -> Division:
    """Divides each identity's images into gallery and queries.

    Args:
        labels: [images] the identity of each, numbers from 0.
        order: [images] the rows in the order in which an identity's images go to the gallery first.
        gallery_share: How much of each identity's images is in the gallery, rounded up.

    Returns:
        The rows of both, in the given order.

    Example:
        >>> divide(np.array([0, 0, 0, 1, 1]), np.arange(5)).query
        array([2, 4])
    """
    images = np.bincount(labels)
    # [identities]; the small term is there because 0.07 * 100 is a bit more than 7.
    in_gallery_of = np.ceil(gallery_share * images - 1e-9)
    ordered = labels[order]
    in_gallery = order_within_identity(ordered, images) < in_gallery_of[ordered]
    return Division(query=order[~in_gallery], gallery=order[in_gallery])
