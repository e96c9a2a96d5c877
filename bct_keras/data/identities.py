"""The images of each identity, in their order."""

import numpy as np


def order_within_identity(labels: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Returns 0 for the first record of each identity, 1 for its second, and so on, [records].

    Args:
        labels: [records] the identity of each, in file order.
        images: [identities] how many records each identity has.
    """
    by_identity = np.argsort(labels, kind="stable")
    first_of_identity = np.cumsum(images) - images
    firsts = np.repeat(first_of_identity, images)
    order = np.empty(len(labels), np.int64)
    order[by_identity] = np.arange(len(labels)) - firsts
    return order
