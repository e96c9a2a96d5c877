"""Pushes the means of old classes apart where they crowd."""

import numpy as np

from bct_keras.errors import InputError
from bct_keras.vectors import normalised

ROWS_AT_ONCE = 1024


def check(perturb: float, neighbours: int, method: str) -> None:
    """Raises where these are no options of `perturbed`."""
    if perturb < 0:
        raise InputError(f"perturb={perturb:g} of {method} has to be at least 0")
    if neighbours < 1:
        raise InputError(f"neighbours={neighbours} of {method} has to be at least 1")


def perturbed(means: np.ndarray, perturb: float, neighbours: int) -> np.ndarray:
    """Returns the class means pushed away from their nearest ones, at length 1.

    p'_c = (p_c + perturb * mean over j of relu(<p_c, p_j>) (p_c - p_j) / |p_c - p_j|)^

    j are the `neighbours` classes whose means are nearest to p_c, and ^ is length 1. This is the
    idea of prototype perturbation, https://arxiv.org/abs/2503.14824, from the old means alone: the
    paper also looks at how far apart the new encoder has the classes.

    Args:
        means: [classes, dims] at length 1; classes without images are zeros, and stay so.
        perturb: How far they are pushed; 0 leaves them where they are.
        neighbours: How many others push each of them.

    Returns:
        [classes, dims]

    Example:
        >>> perturbed(np.array([[0.8, 0.6], [0.6, 0.8], [0.0, 0.0]]), 0.5, 1).round(2)
        array([[0.97, 0.22],
               [0.22, 0.97],
               [0.  , 0.  ]])
    """
    known = np.flatnonzero(np.any(means != 0, axis=1))
    count = min(neighbours, len(known) - 1)
    if perturb == 0 or count < 1:
        return means
    found = means.copy()
    present = means[known]
    for start in range(0, len(known), ROWS_AT_ONCE):
        rows = present[start : start + ROWS_AT_ONCE]
        pushed = rows + perturb * pushes(rows, start, present, count)
        found[known[start : start + ROWS_AT_ONCE]] = normalised(pushed)
    return found


def pushes(rows: np.ndarray, start: int, every: np.ndarray, count: int) -> np.ndarray:
    """Returns [rows, dims], the mean push from the `count` nearest of all.

    Args:
        rows: [rows, dims], those of `every` from `start` on.
        start: The place of the first row.
        every: [classes, dims]
        count: How many push, fewer than there are classes.
    """
    cosines = np.matmul(rows, every.T)
    places = np.arange(len(rows))
    cosines[places, start + places] = -np.inf  # nobody is its own neighbour
    nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
    closeness = np.take_along_axis(cosines, nearest, axis=1)
    strength = np.maximum(closeness, 0.0)
    total = np.zeros_like(rows)
    for place in range(count):
        away = normalised(rows - every[nearest[:, place]])
        total += strength[:, place, None] * away
    return total / count
