"""What the cosine loses where a part of the image is covered.

It asks an encoder for nothing but embeddings.
"""

import itertools

import numpy as np

from bct_keras.explain.subject import Subject

WINDOW, STEP = 1 / 4, 1 / 8  # shares of the image's side


def occlusion(subject: Subject, image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Returns what the cosine loses where a square of the mean colour covers each place.

    https://arxiv.org/abs/1311.2901, section 4.2

    Args:
        subject: The encoder.
        image: [size, size, 3] uint8.
        reference: What the cosine is to, of length 1 [dims].

    Returns:
        Heat [size, size], 0 to 1.
    """
    size = len(image)
    squares = squares_of(size)
    covered = np.repeat(image[None], len(squares) + 1, axis=0)
    mean_colour = image.mean((0, 1))
    for picture, square in zip(covered, squares, strict=False):  # the last one stays whole
        picture[square] = mean_colour
    *cosines, whole = subject.cosines(covered, reference)
    # map(pixel) = max(mean over the squares that cover it of
    #                  (cosine of the whole image - of the covered one), 0)
    loss = np.zeros((size, size))
    times = np.zeros((size, size))
    for square, cosine in zip(squares, cosines, strict=True):
        loss[square] += whole - cosine
        times[square] += 1
    found = np.maximum(loss / times, 0.0)
    return found / max(found.max(), 1e-12)


def squares_of(size: int) -> list[tuple[slice, slice]]:
    """Returns the rows and columns of each square, of which those at the edges are cut off."""
    window = max(int(size * WINDOW), 1)
    step = max(int(size * STEP), 1)
    stretches = []
    for start in range(step - window, size, step):
        end = start + window
        stretches.append(slice(max(start, 0), end))
    squares = itertools.product(stretches, stretches)
    return list(squares)
