"""Aligns faces: brings the five points of each to those of InsightFace's template."""

import numpy as np
from PIL import Image

TEMPLATE_SIZE = 112
FRACTION_BITS = 5
FINER = 5
FOUR_ONES = 0x0001_0001_0001_0001  # in 16 bits each
# Eyes, nose, corners of the mouth, in an image of 112 x 112.
TEMPLATE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)


def sampling_maps(landmarks: np.ndarray, image_size: int) -> np.ndarray:
    """Returns where each aligned image looks up its pixels.

    Args:
        landmarks: [images, 5, 2] points x and y.
        image_size: Pixels of a side of the aligned image.

    Returns:
        [images, 6] numbers a to f: pixel (x, y) of the aligned image is looked up at
        (a x + b y + c, d x + e y + f) of the one that was given.
    """
    # A similarity is one complex number and a shift: q = m p + t. Least squares over the five
    # points: m = sum conj(p - mean p) (q - mean q) / sum |p - mean p|^2
    points = landmarks[..., 0] + 1j * landmarks[..., 1]
    goal = (TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]) * (image_size / TEMPLATE_SIZE)
    centre, goal_centre = points.mean(1), goal.mean()
    from_centre = points - centre[:, None]
    spread = (np.abs(from_centre) ** 2).sum(1)
    factor = (from_centre.conj() * (goal - goal_centre)).sum(1) / np.maximum(spread, 1e-12)
    # The way back: p = (q - t) / m
    back = 1.0 / np.where(factor == 0, 1.0, factor)
    shift = centre - back * goal_centre
    return np.stack([back.real, -back.imag, shift.real, back.imag, back.real, shift.imag], 1)


def align(image: Image.Image, sampling_map: np.ndarray, image_size: int) -> np.ndarray:
    """Returns the aligned image [image_size, image_size, 3] uint8.

    It is interpolated linearly, and black where the given image ends.
    """
    # Positions count in 1/32 of a pixel, as OpenCV's do. The sum of a term for the column and one
    # for the row:
    x_of_column, y_of_column, x_of_row, y_of_row = positions(sampling_map, image_size)
    left, right = reach(x_of_column, x_of_row, image.width)
    top, bottom = reach(y_of_column, y_of_row, image.height)
    # Only what is needed; Pillow makes black what lies outside.
    part = image.crop((left, top, right + 2, bottom + 2))
    part = part if part.mode == "RGB" else part.convert("RGB")
    x = within(x_of_column, x_of_row, left, right).ravel()
    y = within(y_of_column, y_of_row, top, bottom).ravel()
    at = ((y >> FRACTION_BITS) * part.width + (x >> FRACTION_BITS)).astype(np.intp)
    pixels = np.frombuffer(part.tobytes("raw", "RGBX"), np.uint32)
    below_one = (1 << FRACTION_BITS) - 1
    across = (x & below_one).astype(np.uint64)
    down = (y & below_one).astype(np.uint64)
    aligned = bilinear(pixels, at, part.width, across, down)
    return aligned.reshape(image_size, image_size, 4)[..., :3]


def positions(
    sampling_map: np.ndarray, image_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns x and y for each column, then for each row.

    They are whole numbers, and finer than needed, also as OpenCV's.
    """
    one = 1 << FRACTION_BITS + FINER  # what a pixel is in these numbers
    half = 1 << FINER - 1  # so that cutting the finer bits off rounds
    a, b, c, d, e, f = (sampling_map * one).tolist()
    exact = np.multiply.outer((a, d, b, e), np.arange(image_size))
    exact += np.array([[0], [0], [c + half], [f + half]])
    # Landmarks that make no sense may lead anywhere; the sum of two has to fit 32 bits.
    largest = 2.0**29
    np.maximum(exact, -largest, out=exact)
    np.minimum(exact, largest, out=exact)
    np.rint(exact, out=exact)
    x_of_column, y_of_column, x_of_row, y_of_row = exact.astype(np.int32)
    return x_of_column, y_of_column, x_of_row[:, None], y_of_row[:, None]


def reach(of_column: np.ndarray, of_row: np.ndarray, size: int) -> tuple[int, int]:
    """Returns the first and the last pixel that are looked up.

    They lie at most two beyond the image's own.
    """
    low = int(of_column.min() + of_row.min()) >> FINER + FRACTION_BITS
    high = int(of_column.max() + of_row.max()) >> FINER + FRACTION_BITS
    first = min(max(low, -2), size)
    last = min(max(high, -2), size)
    return first, last


def within(of_column: np.ndarray, of_row: np.ndarray, first: int, last: int) -> np.ndarray:
    """Returns the sum, counted from the first pixel that is looked up, in units of the fraction."""
    position = of_column + (of_row - (first << FRACTION_BITS + FINER))
    position >>= FINER
    beyond = (last - first + 1 << FRACTION_BITS) - 1
    if position.min() < 0 or position.max() > beyond:
        np.clip(position, 0, beyond, out=position)
    return position


def bilinear(
    pixels: np.ndarray, at: np.ndarray, width: int, across: np.ndarray, down: np.ndarray
) -> np.ndarray:
    """Returns pixels interpolated linearly, [pixels * 4] uint8.

    A pixel's four bytes lie in one number of 64 bits, 16 for each, and are worked out at once: no
    sum needs more than 16.

    Args:
        pixels: [height * width] of the image, four bytes each.
        at: [pixels] where the upper left one of the four pixels is that each lies between.
        width: The image's width.
        across: [pixels] uint64, how far each lies to the right of that one.
        down: [pixels] uint64, how far it lies below.
    """
    one = np.uint64(1 << FRACTION_BITS)
    to_left = one - across

    def found_at(offset: int) -> np.ndarray:
        # All places lie within; "clip" only spares the check of each.
        found = pixels[offset:].take(at, mode="clip")
        return found.view(np.uint8).astype(np.uint16).view(np.uint64)

    def between(offset: int) -> np.ndarray:
        # (32 - across) left + across right, of which 3 of the 5 bits behind the point are rounded
        # off: 1020 at most
        row = found_at(offset)
        right = found_at(offset + 1)
        row *= to_left
        right *= across
        row += right
        return rounded(row, bits=3)

    upper, lower = between(0), between(width)
    upper *= one - down
    lower *= down
    upper += lower
    return rounded(upper, bits=7).view(np.uint16).astype(np.uint8)


def rounded(sums: np.ndarray, bits: int) -> np.ndarray:
    """Rounds so many bits off each of the four numbers of 16 bits in one of 64, in place."""
    sums += np.uint64(FOUR_ONES << bits - 1)
    sums >>= np.uint64(bits)
    # The bits that have come over from the number above go.
    sums &= np.uint64(FOUR_ONES * ((1 << 16 - bits) - 1))
    return sums
