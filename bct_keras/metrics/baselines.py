"""What an upgrade gains without any training: new queries are rotated into the old space."""

import numpy as np

from bct_keras.metrics.verification import Embedded
from bct_keras.vectors import normalised


def procrustes_map(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Returns the rotation R [new dims, old dims] that minimises |new R - old|.

    https://en.wikipedia.org/wiki/Orthogonal_Procrustes_problem

    Args:
        new: [images, new dims] embeddings by the new encoder.
        old: [images, old dims] embeddings of the same images by the old one.

    Example:
        >>> procrustes_map(np.eye(2), np.array([[0.0, 1.0], [-1.0, 0.0]]))
        array([[ 0.,  1.],
               [-1.,  0.]])
    """
    # new' old = U S V'  ->  R = U V'
    left, _, right = np.linalg.svd(new.T.astype(np.float64) @ old, full_matrices=False)
    return left @ right


def mapped(query: Embedded, rotation: np.ndarray) -> Embedded:
    """Returns the queries in the old space."""
    turned = normalised(query.embeddings @ rotation)
    return Embedded(turned.astype(np.float32), query.labels)
