"""What the header of an encoded image says, without its pixels.

To read it takes 5 microseconds where decoding takes 300.

Kept on purpose: Pillow takes three times as long for a header, and does not look whether the file
is cut off.
"""

import struct
import zlib
from functools import lru_cache
from typing import NamedTuple

from bct_keras.errors import BadImageError

# Refused before they are decoded: a file of a few bytes can claim sixty thousand pixels a side.
MAXIMUM_PIXELS = 64_000_000

JPEG_START = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# Baseline, extended, progressive; no decoder in use reads the others.
DECODED_FRAMES = {0xC0, 0xC1, 0xC2}
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}
SCAN_OR_END = {0xD9, 0xDA}
SEGMENT = struct.Struct(">BBH")  # 0xff, marker, length
FRAME = struct.Struct(">BHHB")  # bits, height, width, components

EXIF_START = b"Exif\0\0"
EXIF_MARKER = 0xE1
METADATA = {*range(0xE0, 0xF0), 0xFE}  # APPn and COM
METADATA_SEGMENTS = 100  # those at which an orientation is looked for
ORIENTATION_TAG, SHORT = 0x0112, 3
TIFF_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}

# JFIF's header, two quantisation tables, and the frame's header up to what is read of it.
START_BYTES = 168

PNG_START = b"\x89PNG\r\n\x1a\n"
CHUNK = struct.Struct(">I4s")  # length, type; the data and a CRC-32 of type and data follow
PNG_HEADER = struct.Struct(">II")  # width, height


class ImageSize(NamedTuple):
    """The sides of an image in pixels."""

    width: int
    height: int


def size_of(encoded: bytes, name: str) -> ImageSize:
    """Returns the image's size.

    Raises where it is cut off, is damaged in a place that shows, or claims too much.
    """
    try:
        return size_in(encoded)
    except BadImageError as bad:
        raise BadImageError(f"{name}: {bad}") from None


def size_in(encoded: bytes) -> ImageSize:
    """Returns the size of an image whose name is not at hand: an error does not say it."""
    try:
        if encoded.startswith(JPEG_START):
            return jpeg_size(encoded)
        if encoded.startswith(PNG_START):
            return png_size(encoded)
    except (struct.error, IndexError):
        raise BadImageError("the image is cut off") from None
    raise BadImageError("not a JPEG or PNG image")


def jpeg_size(encoded: bytes) -> ImageSize:
    """Returns the size of a JPEG, whose end has to be there.

    Inside the compressed pixels 0xff is always followed by 0 or a restart marker. Padding may
    follow the end.
    """
    try:
        size, position = frame_at_start(encoded[:START_BYTES])
    except struct.error:
        size, position = frame(encoded)
    if encoded.rfind(JPEG_END, position) < 0:
        raise BadImageError("the JPEG is cut off: it has no end marker")
    return size


def checked(size: ImageSize) -> ImageSize:
    """Returns the size; raises where no image of it is decoded."""
    width, height = size
    if not width or not height:
        raise BadImageError(f"an image of {width} x {height} pixels")
    if width * height > MAXIMUM_PIXELS:
        raise BadImageError(f"{width} x {height} pixels are too many")
    return size


def frame(encoded: bytes) -> tuple[ImageSize, int]:
    """Returns the size that the frame's header says, and where that header starts."""
    position = 2
    while True:
        fill, marker, length = SEGMENT.unpack_from(encoded, position)
        if fill != 0xFF:
            raise BadImageError(f"the JPEG is damaged at byte {position}: a marker was expected")
        if marker in START_OF_FRAME:
            break
        if marker in SCAN_OR_END:
            raise BadImageError(f"the JPEG has no frame before byte {position}")
        if marker == 0xFF:
            position += 1
        elif marker in WITHOUT_LENGTH:
            position += 2
        else:
            position += 2 + length
    if marker not in DECODED_FRAMES:
        raise BadImageError(f"a JPEG of a kind that is not decoded (SOF{marker - 0xC0})")
    bits, height, width, colours = FRAME.unpack_from(encoded, position + SEGMENT.size)
    if bits != 8 or colours not in (1, 3):
        raise BadImageError(
            f"a JPEG of {colours} colours of {bits} bits, such as CMYK; save it as RGB or grey of "
            "8 bits"
        )
    return checked(ImageSize(width, height)), position


# Images of one encoder start alike, up to their frame's header and beyond.
frame_at_start = lru_cache(maxsize=1024)(frame)


def orientation_of(encoded: bytes) -> int:
    """Returns the Exif orientation, 1 to 8.

    1 is upright, and is what a PNG and a JPEG that says nothing else have. It is looked for where
    Exif's standard puts it: in the segments of metadata with which a JPEG starts, the first 100 of
    them, there in the first one of Exif, there in the first directory, as one number of 16 bits.
    """
    if not encoded.startswith(JPEG_START):
        return 1
    position = 2
    for _ in range(METADATA_SEGMENTS):
        content = position + SEGMENT.size
        if content > len(encoded):
            return 1
        start, marker, length = SEGMENT.unpack_from(encoded, position)
        if start == 0xFF and marker == 0xFF:
            position += 1
            continue
        if start != 0xFF or marker not in METADATA:
            return 1
        end = position + 2 + length
        if marker == EXIF_MARKER and encoded.startswith(EXIF_START, content):
            return orientation_in(encoded[content + len(EXIF_START) : end])
        position = end
    return 1


def orientation_in(exif: bytes) -> int:
    """Finds the orientation in Exif's data, which are a TIFF file without an image."""
    order = TIFF_ORDERS.get(exif[:4])
    if order is None or len(exif) <= 8:
        return 1
    (directory,) = struct.unpack_from(f"{order}I", exif, 4)
    first = directory + 2
    if first > len(exif):
        return 1
    (entries,) = struct.unpack_from(f"{order}H", exif, directory)
    entry = struct.Struct(f"{order}HHIHxx")  # tag, type, count, value
    whole = (len(exif) - first) // entry.size
    for number in range(min(entries, whole)):
        place = first + number * entry.size
        tag, kind, count, value = entry.unpack_from(exif, place)
        is_orientation = tag == ORIENTATION_TAG and kind == SHORT and count == 1
        if is_orientation and 1 <= value <= 8:
            return value
    return 1


def png_size(encoded: bytes) -> ImageSize:
    """Returns the size of a PNG; checks the CRC-32 of every chunk too, which is cheap."""
    position = len(PNG_START)
    size = None
    while True:
        length, kind = CHUNK.unpack_from(encoded, position)
        data = position + CHUNK.size
        end = data + length
        (stored,) = struct.unpack_from(">I", encoded, end)
        if zlib.crc32(encoded[position + 4 : end]) != stored:
            raise BadImageError(f"the PNG is damaged between bytes {position} and {end} (CRC)")
        if size is None:
            if kind != b"IHDR":
                raise BadImageError("the PNG does not start with its header")
            width, height = PNG_HEADER.unpack_from(encoded, data)
            size = ImageSize(width, height)
        if kind == b"IEND":
            return checked(size)
        position = end + 4
