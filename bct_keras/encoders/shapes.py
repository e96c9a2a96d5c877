"""Says which shapes an encoder may take and give, and checks what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras.data.preprocessing import CHANNELS
from bct_keras.errors import InputError
from bct_keras.methods.outputs import COMPATIBLE, EMBEDDING

LARGEST_SIZE = 2048  # pixels of a side
LARGEST_DIMS = 65536


@dataclass(frozen=True)
class Shapes:
    """What an encoder takes and gives."""

    image_size: int
    dims: int  # of its embedding
    compatible_dims: int  # of its output for the old gallery; 0 where it has none
    colours_first: bool  # [batch, 3, size, size]; else [batch, size, size, 3]


def checked_shapes(path: Path, image_shape: Any, outputs: Mapping[str, Any]) -> Shapes:
    """Returns what an encoder takes and gives; raises where it is no encoder.

    Args:
        path: Where the encoder lies.
        image_shape: [batch, size, size, 3] or [batch, 3, size, size]; a free side is None or -1.
        outputs: [batch, dims] of each output by its name. One may have any name.
    """
    try:
        _, *sides = sides_of(image_shape)
        all_dims = [dims_of(shape) for shape in outputs.values()]
        colours_first = sides[0] == CHANNELS and sides[-1] != CHANNELS
        if colours_first:
            channels, height, width = sides
        else:
            height, width, channels = sides
    except (TypeError, ValueError, IndexError):
        height = width = channels = -1
        all_dims = [-1]
        colours_first = False
    # Else memory goes before anything is told.
    sizes_fit = 1 <= height <= LARGEST_SIZE
    for dims in all_dims:
        sizes_fit = sizes_fit and 1 <= dims <= LARGEST_DIMS
    if height != width or channels != CHANNELS or not sizes_fit:
        given = " and ".join(str(shape) for shape in outputs.values())
        raise InputError(
            f"{path} is no encoder of square colour images: {image_shape} in, {given} out"
        )
    if len(outputs) == 1:
        return Shapes(height, all_dims[0], 0, colours_first)
    if set(outputs) != {EMBEDDING, COMPATIBLE}:
        raise InputError(
            f"{path} is no encoder of square colour images: it has the outputs "
            f"{', '.join(sorted(outputs))}; an encoder has one, or {EMBEDDING} and {COMPATIBLE}"
        )
    return Shapes(
        image_size=height,
        dims=dims_of(outputs[EMBEDDING]),
        compatible_dims=dims_of(outputs[COMPATIBLE]),
        colours_first=colours_first,
    )


def dims_of(shape: Any) -> int:
    """Returns the dims of [batch, dims]."""
    _, dims = sides_of(shape)
    return dims


def sides_of(shape: Any) -> list[int]:
    """Returns the sides of a shape, -1 for one that is free."""
    return [int(side or -1) for side in shape]


def one_after_the_other(outputs: Mapping[str, Any]) -> np.ndarray:
    """Returns the outputs of an encoder [batch, dims + compatible dims], `embedding` first."""
    names = list(outputs)
    if len(names) > 1:
        names = [EMBEDDING, COMPATIBLE]
    found = [np.asarray(outputs[name]) for name in names]
    return np.concatenate(found, axis=1)


def check_answer(path: Path, found: tuple[int, ...], asked: tuple[int, int]) -> None:
    """Raises where an encoder answers with anything but one embedding for each image."""
    if tuple(found) == asked:
        return
    images, dims = asked
    answer = " x ".join(map(str, found)) or "one number"
    raise InputError(
        f"{path} answers {images} images with {answer} and not with {images} embeddings of "
        f"{dims} dimensions: it cannot be used"
    )


def in_batches(
    run: Callable[[np.ndarray], np.ndarray], images: np.ndarray, size: int
) -> np.ndarray:
    """Runs a file that is made for batches of one size, or of any where that is 0.

    The last batch is filled up with copies of the last image.
    """
    if not size:
        return run(images)
    last = len(images) - 1
    found = []
    for first in range(0, len(images), size):
        rows = np.minimum(np.arange(first, first + size), last)
        found.append(run(images[rows]).copy())
    return np.concatenate(found)[: len(images)]
