import io
import zlib

import numpy as np
import pytest
from PIL import Image

from bct_keras.data.image_check import inspect
from bct_keras.errors import BadImageError


def encoded(width: int, height: int, kind: str, **options) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {})]
)
def test_the_size_of_a_whole_image(kind, options):
    size = inspect(encoded(40, 24, kind, **options), "a")
    assert (size.width, size.height) == (40, 24)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_a_truncated_image_is_named(kind, share):
    image = encoded(64, 64, kind)
    with pytest.raises(
        BadImageError, match=r"^photos/a: (not a JPEG or PNG image|the image cannot be decoded)"
    ):
        inspect(image[: int(share * len(image))], "photos/a")


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP"])
def test_other_formats_are_refused(kind):
    with pytest.raises(BadImageError, match=r"^a: not a JPEG or PNG image"):
        inspect(encoded(16, 16, kind), "a")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_too_many_pixels_are_refused_before_they_are_decoded(kind):
    image = bytearray(encoded(16, 16, kind))
    if kind == "PNG":
        image[16:24] = (60_000).to_bytes(4, "big") * 2
        image[29:33] = zlib.crc32(image[12:29]).to_bytes(4, "big")
    else:
        frame = image.index(b"\xff\xc0")
        image[frame + 5 : frame + 9] = (60_000).to_bytes(2, "big") * 2
    with pytest.raises(
        BadImageError, match=r"^a: .*(60000 x 60000 pixels are too many|cannot be decoded)"
    ):
        inspect(bytes(image), "a")
