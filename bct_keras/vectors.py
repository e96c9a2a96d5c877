"""Embeddings as vectors: their length."""

import numpy as np


def normalised(embeddings: np.ndarray) -> np.ndarray:
    """Returns the embeddings at length 1; one of nothing but zeros stays as it is.

    Args:
        embeddings: [..., dims]

    Example:
        >>> normalised(np.array([[3.0, 4.0], [0.0, 0.0]]))
        array([[0.6, 0.8],
               [0. , 0. ]])
    """
    lengths = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return embeddings / np.maximum(lengths, 1e-12)
