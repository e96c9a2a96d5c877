"""Reads a photo's pixels as every other part of bct_keras sees them, by Pillow alone.

The rule stands in bct_keras/data/images.py: JPEG and PNG; of 16 bits the upper 8; transparency
dropped; CMYK refused; a JPEG turned as its Exif orientation says; stretched to a square.
"""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

MAXIMUM_PIXELS = 64_000_000
# Of a JPEG: what it starts with, and the marker of the segment in which Exif lies.
JPEG = b"\xff\xd8\xff"
EXIF_MARKER = 0xE1
MOST_SEGMENTS = 100
# The entry of Exif that says the orientation: a number of 16 bits.
ORIENTATION_TAG, SHORT = 0x0112, 3
ENTRY_BYTES = 12
BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def pixels_of(path: str, size: int) -> np.ndarray:
    """Reads a photo to [size, size, 3] uint8; ValueError or OSError where it cannot be taken."""
    if not Path(path).is_file():  # a device or a pipe may never end
        raise ValueError(f"{path}: no such file")
    encoded = Path(path).read_bytes()
    image = upright_rgb(encoded, path)
    square = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(square)


def upright_rgb(encoded: bytes, name: str) -> Image.Image:
    """Returns the image in RGB, turned as it says itself."""
    image = opened(encoded, name)
    if image.mode.startswith("I"):  # grey of 16 bits, of which Pillow's own conversion makes white
        upper_bits = np.asarray(image) >> 8
        image = Image.fromarray(upper_bits.astype(np.uint8))
    image.info.pop("transparency", None)  # a warning otherwise
    image = image.convert("RGB")
    orientation = orientation_of(encoded)
    if orientation == 1:
        return image
    return image.transpose(TURNS[orientation])


def opened(encoded: bytes, name: str) -> Image.Image:
    """Returns the image as Pillow decodes it; ValueError where it cannot be taken."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG"))
        if image.width * image.height > MAXIMUM_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are too many")
        if image.mode == "CMYK":
            raise ValueError("a JPEG of four colours; save it as RGB")
        image.load()
        return image
    except UnidentifiedImageError:
        raise ValueError(f"{name} is no JPEG or PNG image") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} cannot be read as an image: {error}") from None


def orientation_of(encoded: bytes) -> int:
    """Returns the Exif orientation, 1 to 8, of a JPEG that says one, and 1 of any other image."""
    if not encoded.startswith(JPEG):
        return 1
    position = 2
    for _ in range(MOST_SEGMENTS):
        if position + 4 > len(encoded):
            return 1
        start, marker, length = struct.unpack_from(">BBH", encoded, position)
        if start == 0xFF and marker == 0xFF:  # a byte that fills up
            position += 1
            continue
        if start != 0xFF or not is_metadata(marker):
            return 1
        end = position + 2 + length
        if marker == EXIF_MARKER and encoded.startswith(b"Exif\0\0", position + 4):
            return orientation_in(encoded[position + 10 : end])
        position = end
    return 1


def is_metadata(marker: int) -> bool:
    """Tells whether a segment of a JPEG holds metadata or a comment."""
    return 0xE0 <= marker <= 0xEF or marker == 0xFE


def orientation_in(exif: bytes) -> int:
    """Returns the orientation that Exif metadata say, and 1 where they say none."""
    order = BYTE_ORDERS.get(exif[:4])
    if order is None or len(exif) <= 8:
        return 1
    (first,) = struct.unpack_from(f"{order}I", exif, 4)
    if first + 2 > len(exif):
        return 1
    (claimed,) = struct.unpack_from(f"{order}H", exif, first)
    there = (len(exif) - first - 2) // ENTRY_BYTES
    for number in range(min(claimed, there)):
        place = first + 2 + ENTRY_BYTES * number
        tag, kind, count, value = struct.unpack_from(f"{order}HHIH", exif, place)
        if tag != ORIENTATION_TAG or kind != SHORT or count != 1:
            continue
        if 1 <= value <= 8:
            return value
    return 1
