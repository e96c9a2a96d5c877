import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from bct_keras.data.image_header import size_of
from bct_keras.errors import BadImageError


def encoded(width: int, height: int, kind: str, **options) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def jpeg_claiming(width: int, height: int) -> bytes:
    image = encoded(16, 16, "JPEG")
    frame = image.index(b"\xff\xc0") + 5  # after the marker, the length and the bits
    return image[:frame] + struct.pack(">HH", height, width) + image[frame + 4 :]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"comment": b"\xff\xd9\xff\xc0" * 9}),
    ],
)
def test_sizes_are_those_of_the_image(kind, options):
    size = size_of(encoded(33, 21, kind, **options), "image")
    assert (size.width, size.height) == (33, 21)


def test_markers_may_have_fill_bytes_and_padding_may_follow_the_end():
    image = encoded(33, 21, "JPEG")
    size = size_of(image[:2] + b"\xff\xff" + image[2:] + b"\0\0\0", "image")
    assert (size.width, size.height) == (33, 21)


@pytest.mark.parametrize("image", [png_claiming(60_000, 60_000), jpeg_claiming(60_000, 60_000)])
def test_sixty_thousand_pixels_a_side_are_refused(image):
    with pytest.raises(BadImageError, match=r"album/7: 60000 x 60000 pixels are too many"):
        size_of(image, "album/7")


@pytest.mark.parametrize("image", [png_claiming(0, 5), jpeg_claiming(5, 0)])
def test_an_image_without_pixels_is_refused(image):
    with pytest.raises(BadImageError, match=r"an image of \d x \d pixels"):
        size_of(image, "image")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_every_truncation_is_found(kind):
    image = encoded(16, 16, kind)
    for length in range(len(image)):
        with pytest.raises(BadImageError, match=r"^image: "):
            size_of(image[:length], "image")


def test_every_flipped_bit_of_a_png_is_found():
    image = encoded(4, 4, "PNG")
    for bit in range(8 * len(image)):
        damaged = bytearray(image)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadImageError):
            size_of(bytes(damaged), "image")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"", "not a JPEG or PNG image"),
        (b"GIF89a", "not a JPEG or PNG image"),
        (encoded(16, 16, "JPEG").replace(b"\xff\xc0", b"\xff\xc3", 1), r"not decoded \(SOF3\)"),
        (encoded(16, 16, "JPEG").replace(b"\xff\xdb", b"\x00\xdb", 1), "a marker was expected"),
        (b"\xff\xd8\xff\xd9\0\0", "no frame"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(BadImageError, match=message):
        size_of(image, "image")
