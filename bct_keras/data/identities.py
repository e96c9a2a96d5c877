"""The images of each identity, in their order."""

import numpy as np


def order_within_identity(labels: np.ndarray, images: np.ndarray) -> np.ndarray:
    """[records] 0 for the first record of each identity in file order, 1 for its second, and so on."""
    by_identity = np.argsort(labels, kind="stable")
    order = np.empty(len(labels), np.int64)
    order[by_identity] = np.arange(len(labels)) - np.repeat(np.cumsum(images) - images, images)
    return order
