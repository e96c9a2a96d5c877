"""Checks what a server answers before anything is made of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from errors import ServingError, plain

MAXIMUM_DIMS = 8192
LENGTH_TOLERANCE = 1e-3
OTHER_BYTES = 1 << 16  # of an answer: names, shapes, an error's text
# Bytes of an image's row: a number in a message, or in JSON with what stands around it.
BYTES_OF_A_NUMBER = {"grpc": 8, "http": 26}
BYTES_OF_A_NAME = 256


@dataclass(frozen=True)
class Answer:
    """What a server gave, not yet checked."""

    embeddings: np.ndarray  # [images, dims] float32
    taken: Sequence[bool] | None = None  # for each image; None where an older export does not say
    encoders: Sequence[str] | None = None  # the name of the encoder behind each row


@dataclass(frozen=True)
class Embedded:
    """What a server gave, checked."""

    embeddings: np.ndarray  # [images, dims] float32, with a row of NaN for an image not taken
    encoder: str | None  # the name of the encoder behind all of them; None where it is not said


def largest_answer(images: int, kind: str) -> int:
    """Returns how many bytes an answer to so many images can have: nothing longer is read."""
    embeddings = 2  # that for the encoder's own gallery, and that for an older one's
    numbers = embeddings * MAXIMUM_DIMS * BYTES_OF_A_NUMBER[kind]
    return images * (numbers + BYTES_OF_A_NAME) + OTHER_BYTES


def checked(answer: Answer, images: int, expected_encoder: str | None) -> Embedded:
    """Returns the embeddings and the encoder that they all are by.

    Args:
        answer: what the server gave.
        images: how many images it was asked about.
        expected_encoder: the name that every row's encoder must have; any one if None.
    """
    check_shape(answer.embeddings, images)
    encoder = encoder_of(answer, images, expected_encoder)
    taken = taken_of(answer, images)
    check_lengths(answer.embeddings, taken)
    embeddings = answer.embeddings.copy()
    embeddings[~taken] = np.nan
    return Embedded(embeddings, encoder)


def check_shape(embeddings: np.ndarray, images: int) -> None:
    """Raises unless there is one embedding of each image."""
    shape = embeddings.shape
    is_matrix = len(shape) == 2
    if not is_matrix or shape[0] != images or not 1 <= shape[1] <= MAXIMUM_DIMS:
        raise ServingError(f"the answer to {images} images has embeddings of shape {list(shape)}")


def taken_of(answer: Answer, images: int) -> np.ndarray:
    """Returns of each image whether it was taken; all were where the answer does not say it."""
    if answer.taken is None:
        return np.ones(images, bool)
    taken = np.asarray(answer.taken, bool)
    if taken.shape != (images,):
        raise ServingError(
            f"the answer to {images} images says of {taken.size} whether they were taken"
        )
    return taken


def check_lengths(embeddings: np.ndarray, taken: np.ndarray) -> None:
    """Raises unless the embedding of each image that was taken has length 1."""
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    is_one = np.abs(lengths - 1) <= LENGTH_TOLERANCE
    wrong = np.flatnonzero(taken & ~is_one)
    if len(wrong):
        first = wrong[0]
        raise ServingError(
            f"embedding {first} of the answer has length {lengths[first]:.6g}, and not 1"
        )


def encoder_of(answer: Answer, images: int, expected: str | None) -> str | None:
    """Returns the encoder of all rows, None where the answer does not say it.

    Raises where a row is by another encoder than the one expected, or than the first row.
    """
    if answer.encoders is None:
        if expected is None:
            return None
        raise ServingError(
            "the answer does not say which encoder embedded the images; export the encoder anew"
        )
    if len(answer.encoders) != images:
        raise ServingError(f"the answer to {images} images names {len(answer.encoders)} encoders")
    first = answer.encoders[0]
    for encoder in answer.encoders:
        if expected is not None and encoder != expected:
            raise ServingError(
                f"the answer is by the encoder {plain(encoder)}, and {expected} was expected"
            )
        if encoder != first:
            raise ServingError(
                f"the answer is by two encoders, {plain(first)} and {plain(encoder)}"
            )
    return first
