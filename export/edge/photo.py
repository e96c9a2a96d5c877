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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG"))
        if image.width * image.height > MAXIMUM_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are too many")
        if image.mode == "CMYK":
            raise ValueError("a JPEG of four colours; save it as RGB")
        image.load()
    except UnidentifiedImageError:
        raise ValueError(f"{name} is no JPEG or PNG image") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} cannot be read as an image: {error}") from None
    if image.mode.startswith("I"):  # grey of 16 bits, of which Pillow's own conversion makes white
        upper_bits = np.asarray(image) >> 8
        image = Image.fromarray(upper_bits.astype(np.uint8))
    image.info.pop("transparency", None)  # a warning otherwise
    orientation = orientation_of(encoded)
    image = image.convert("RGB")
    if orientation == 1:
        return image
    return image.transpose(TURNS[orientation])


def orientation_of(encoded: bytes) -> int:
    """Returns the Exif orientation, 1 to 8, of a JPEG that says one, and 1 of any other image."""
    if not encoded.startswith(b"\xff\xd8\xff"):
        return 1
    position = 2
    for _ in range(100):
        if position + 4 > len(encoded):
            break
        start, marker, length = struct.unpack_from(">BBH", encoded, position)
        if (start, marker) == (0xFF, 0xFF):  # a byte that fills up
            position += 1
            continue
        is_metadata = 0xE0 <= marker <= 0xEF or marker == 0xFE
        if start != 0xFF or not is_metadata:
            break
        if marker == 0xE1 and encoded.startswith(b"Exif\0\0", position + 4):
            return orientation_in(encoded[position + 10 : position + 2 + length])
        position += 2 + length
    return 1


def orientation_in(exif: bytes) -> int:
    """Returns the orientation that Exif metadata say, and 1 where they say none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4], "")
    if not order or len(exif) <= 8:
        return 1
    (first,) = struct.unpack_from(f"{order}I", exif, 4)
    if first + 2 > len(exif):
        return 1
    (entries,) = struct.unpack_from(f"{order}H", exif, first)
    there = (len(exif) - first - 2) // 12
    for number in range(min(entries, there)):
        place = first + 2 + 12 * number
        tag, kind, count, value = struct.unpack_from(f"{order}HHIH", exif, place)
        is_orientation = (tag, kind, count) == (0x0112, 3, 1)
        if is_orientation and 1 <= value <= 8:
            return value
    return 1
