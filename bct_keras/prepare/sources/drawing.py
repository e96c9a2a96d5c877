"""Numbers, noise and pixels that are the same on any machine.

Draws are hashes of a key, and floats are computed one element at a time under the operations that
IEEE 754 rounds in one way; see synthetic.py.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np


def uniform(count: int, *key: str | int) -> np.ndarray:
    """Draws [count] float32 in [-1, 1), of 24 bits: none is rounded."""
    text = "/".join(str(part) for part in key)
    digest = hashlib.shake_128(text.encode()).digest(4 * count)
    whole = np.frombuffer(digest, "<u4") >> 8
    return whole.astype(np.float32) / 2.0**23 - 1.0


def between(low: float, high: float, draws: Iterator[float]) -> float:
    """Draws a number from `low` to `high`."""
    draw = next(draws)
    return low + (high - low) * (draw + 1.0) / 2.0


def pick(count: int, draws: Iterator[float]) -> int:
    """Draws a whole number below `count`."""
    return int(between(0.0, count, draws))


def smooth_noise(channels: int, cells: int, side: int, key: tuple[str | int, ...]) -> np.ndarray:
    """Returns noise, [channels, side, side] in [-1, 1).

    It is random at the corners of a grid, and smooth between them.
    """
    in_row = cells + 1
    corners = uniform(channels * in_row**2, *key, cells)
    corners = corners.reshape(channels, in_row, in_row)
    place = (centres(side) + 1.0) * (cells / 2.0)
    left = place.astype(np.intp)
    right = left + 1
    share = place - np.floor(place)
    share = share * share * (3.0 - 2.0 * share)
    rows = mix(corners[:, left], corners[:, right], share[:, None])
    return mix(rows.take(left, 2), rows.take(right, 2), share)


@lru_cache(maxsize=8)
def centres(count: int) -> np.ndarray:
    """Returns the middles of as many equal parts of [-1, 1], [count] float32."""
    width = 2.0 / count
    return (np.arange(count, dtype=np.float32) + 0.5) * width - 1.0


def column(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns one value for each colour, [3, 1, 1]."""
    colours = np.asarray(values, np.float32)
    return colours[:, None, None]


def mix(first: np.ndarray, second: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """Returns what lies between two: the first where the share is 0, the second where it is 1."""
    return first + share * (second - first)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Returns the values as whole numbers of 0 to 255."""
    within = np.clip(values, 0.0, 255.0)
    return within.astype(np.uint8)


def png(picture: np.ndarray) -> bytes:
    """Returns the PNG file of [3, height, width] uint8.

    Its pixels are not compressed: zlib's releases differ in it, and noise hardly shrinks.
    """
    _, height, width = picture.shape
    lines = np.zeros((height, 1 + 3 * width), np.uint8)  # each line begins with its filter: 0, none
    for channel, plane in enumerate(picture):
        lines[:, 1 + channel :: 3] = plane
    data = lines.tobytes()
    # One stored block holds 65,535 bytes; the largest of IMAGE_SIZES makes 37,744.
    block = struct.pack("<BHH", 1, len(data), len(data) ^ 0xFFFF) + data
    check = struct.pack(">I", zlib.adler32(data))
    stream = b"\x78\x01" + block + check
    # 8 bits of red, green and blue; the only way of compressing, filtering and no interlacing.
    kind = bytes((8, 2, 0, 0, 0))
    header = struct.pack(">II", width, height) + kind
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def chunk(name: bytes, data: bytes) -> bytes:
    """Returns a chunk of a PNG: length, name, data and checksum."""
    length = struct.pack(">I", len(data))
    check = struct.pack(">I", zlib.crc32(name + data))
    return length + name + data + check
