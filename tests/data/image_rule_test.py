"""One rule for the pixels of an image: the data that is trained on, Pillow's checks, the served
graph, the device.
"""

import importlib
import io
import re
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from bct_keras.data import image_check, image_header, images
from bct_keras.errors import BadImageError

pytestmark = pytest.mark.seconds(10)

EDGE = Path(__file__).parents[2] / "export" / "edge"
SIDE = 24


@pytest.fixture(scope="module")
def photo() -> Any:
    """The device's own reader, a script beside its example and no part of bct_keras."""
    sys.path.insert(0, str(EDGE))
    yield importlib.import_module("photo")
    sys.path.remove(str(EDGE))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    bits: int,
    colour: int,
    samples: int,
    before_pixels: bytes = b"",
    side: int = SIDE,
    seed: int = 0,
) -> bytes:
    """A PNG of random pixels.

    Colour types: 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha.
    """
    row_bytes = -(-side * samples * bits // 8)
    rows = np.random.default_rng(seed).integers(0, 256, (side, row_bytes), np.uint8)
    unfiltered = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    parts = [
        chunk(b"IHDR", header),
        before_pixels,
        chunk(b"IDAT", zlib.compress(unfiltered)),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def palette(bits: int, transparent: bool = False) -> bytes:
    random = np.random.default_rng(bits)
    colours = chunk(b"PLTE", random.integers(0, 256, 3 << bits, np.uint8).tobytes())
    return colours + (
        chunk(b"tRNS", random.integers(0, 256, 1 << bits, np.uint8).tobytes())
        if transparent
        else b""
    )


def picture(mode: str = "RGB", side: int = SIDE) -> Image.Image:
    coarse = np.random.default_rng(1).integers(0, 256, (5, 4, len(mode)), np.uint8)
    return Image.fromarray(coarse.squeeze(), mode).resize((side, side), Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    image.save(file := io.BytesIO(), kind, **options)
    return file.getvalue()


def exif(
    orientation: int,
    order: str = ">",
    kind: int = 3,
    count: int = 1,
    before: int = 0,
    entries: int = 1,
) -> bytes:
    """The segment of Exif that holds an orientation alone, after `before` others."""
    start = {">": b"MM\0*", "<": b"II*\0"}[order] + struct.pack(f"{order}I", 8)
    others = b"".join(
        struct.pack(f"{order}HHIHH", 0x0100 + number, 3, 1, 6, 0) for number in range(before)
    )
    entry = struct.pack(f"{order}HHIHH", 0x0112, kind, count, orientation, 0)
    table = struct.pack(f"{order}H", before + entries) + others + entry + b"\0\0\0\0"
    return segment(0xE1, b"Exif\0\0" + start + table)


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg_with(*segments: bytes, jfif: bool = True) -> bytes:
    plain = saved(picture(), "JPEG", quality=90)
    assert plain[2:4] == b"\xff\xe0"  # JFIF's own segment of 18 bytes comes first
    start = plain[2:20] if jfif else b""
    return plain[:2] + start + b"".join(segments) + plain[20:]


ACCEPTED = {
    "8-bit grey PNG": png(8, 0, 1),
    "8-bit RGB PNG": png(8, 2, 3),
    "8-bit grey PNG with alpha": png(8, 4, 2),
    "8-bit RGBA PNG": png(8, 6, 4),
    "16-bit grey PNG": png(16, 0, 1),
    "16-bit RGB PNG": png(16, 2, 3),
    "16-bit grey PNG with alpha": png(16, 4, 2),
    "16-bit RGBA PNG": png(16, 6, 4),
    "16-bit grey PNG, a transparent grey": png(16, 0, 1, chunk(b"tRNS", b"\x10\x10")),
    "8-bit grey PNG, a transparent grey": png(8, 0, 1, chunk(b"tRNS", b"\0\x10")),
    "8-bit RGB PNG with gamma": png(8, 2, 3, chunk(b"gAMA", struct.pack(">I", 100_000))),
    "1-bit PNG": png(1, 0, 1),
    "2-bit grey PNG": png(2, 0, 1),
    "4-bit grey PNG": png(4, 0, 1),
    **{f"{bits}-bit palette PNG": png(bits, 3, 1, palette(bits)) for bits in (1, 2, 4, 8)},
    "palette PNG with transparency": png(8, 3, 1, palette(8, transparent=True)),
    "PNG that says an orientation": png(8, 2, 3, chunk(b"eXIf", exif(6)[10:])),
    "animated PNG": saved(picture(), "PNG", save_all=True, append_images=[picture().rotate(90)]),
    "RGB JPEG": saved(picture(), "JPEG"),
    "grey JPEG": saved(picture("L"), "JPEG"),
    "progressive JPEG": saved(picture(), "JPEG", progressive=True),
    "JPEG of several images": saved(
        picture(), "MPO", save_all=True, append_images=[picture().rotate(90)]
    ),
    **{f"orientation {turn}": jpeg_with(exif(turn)) for turn in range(1, 9)},
    **{
        f"orientation {turn}, little endian": jpeg_with(exif(turn, "<"), jfif=False)
        for turn in range(1, 9)
    },
    "orientation after a profile": jpeg_with(
        segment(0xE2, b"ICC_PROFILE\0" + bytes(60_000)), exif(6)
    ),
    "orientation after a comment and fill bytes": jpeg_with(
        segment(0xFE, b"a photo"), b"\xff\xff" + exif(8)
    ),
    "orientation as Pillow writes it": saved(
        picture(), "JPEG", exif=exif(5)[4:], icc_profile=bytes(70_000)
    ),
    "orientation in a progressive JPEG": saved(
        picture(), "JPEG", exif=exif(7)[4:], progressive=True
    ),
    "orientation in a grey JPEG": saved(picture("L"), "JPEG", exif=exif(3)[4:]),
}
REFUSED = {
    "CMYK JPEG": saved(picture("CMYK"), "JPEG"),
    "GIF": saved(picture(), "GIF"),
    "BMP": saved(picture(), "BMP"),
    "WebP": saved(picture(), "WEBP"),
    "TIFF": saved(picture(), "TIFF"),
    "text": b"no image",
    "nothing": b"",
    "half a PNG": png(8, 2, 3)[:900],
    "half a JPEG": saved(picture(side=200), "JPEG")[:1500],
    "a PNG's start": png(8, 2, 3)[:20],
    "a JPEG's start": saved(picture(), "JPEG")[:12],
    "a PNG of 10^8 pixels": saved(Image.new("L", (10_000, 10_000)), "PNG"),
    "a PNG of 2^62 pixels": (
        png(8, 0, 1)[:16] + struct.pack(">II", 1 << 31, 1 << 31) + png(8, 0, 1)[24:]
    ),
    "a PNG of no pixels": png(8, 0, 1)[:16] + bytes(8) + png(8, 0, 1)[24:],
}


def in_tf_data(encoded: bytes) -> np.ndarray:
    decoded = tf.data.Dataset.from_tensors(encoded).map(
        lambda image: images.decode(image, SIDE, resize=False)
    )
    return next(decoded.as_numpy_iterator())


served = tf.function(lambda encoded: images.decode_each(encoded, SIDE))


@pytest.mark.parametrize("name", ACCEPTED)
def test_all_four_places_see_the_same_pixels(photo, tmp_path, name):
    encoded = ACCEPTED[name]
    expected = in_tf_data(encoded)
    pixels, decoded = served(tf.constant([encoded]))
    assert decoded.numpy().tolist() == [True]
    np.testing.assert_array_equal(pixels[0], expected)
    np.testing.assert_array_equal(np.asarray(image_check.decode(encoded, name)), expected)
    (tmp_path / "photo").write_bytes(encoded)
    np.testing.assert_array_equal(photo.pixels_of(str(tmp_path / "photo"), SIDE), expected)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_in_all_four_places(photo, tmp_path, name):
    encoded = REFUSED[name]
    with pytest.raises(BadImageError, match=re.escape(name)):
        image_check.inspect(encoded, name)  # what `prepare` lets into the data
    _, decoded = served(tf.constant([encoded]))
    assert decoded.numpy().tolist() == [False]
    (tmp_path / name).write_bytes(encoded)
    with pytest.raises((ValueError, OSError), match=re.escape(name)):
        photo.pixels_of(str(tmp_path / name), SIDE)


def test_a_header_alone_tells_a_jpeg_of_four_colours():
    with pytest.raises(BadImageError, match=r"a: a JPEG of 4 colours of 8 bits, such as CMYK"):
        image_header.size_of(REFUSED["CMYK JPEG"], "a")


# Made of the upright image by numpy: rows and columns as the standard's table of orientations has
# them.
STORED_AS = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(
        upright, 1
    ),  # the camera was turned clockwise, so the stored image lies to the left
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_photo_stands_upright_whichever_way_the_camera_was_held(turn):
    # Blocks of one colour each, of a JPEG's own size, are stored without loss of place; 32 wide and
    # 16 high.
    colours = np.random.default_rng(0).integers(0, 256, (2, 4, 3), np.uint8)
    upright = colours.repeat(8, 0).repeat(8, 1)
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[turn](upright)))
    encoded = saved(stored, "JPEG", quality=100, subsampling=0, exif=exif(turn)[4:])
    found = np.asarray(image_check.decode(encoded, "photo"), int)
    assert found.shape == (16, 32, 3)
    assert np.abs(found - upright).max() <= 3
    # In the graph, brought to a square of twice the height: every row is seen twice.
    pixels = images.decode(tf.constant(encoded), 32, resize=True).numpy().astype(int)
    assert np.abs(pixels[4::16] - upright[4::8]).max() <= 3


def damaged(random: np.random.Generator) -> bytes:
    """A JPEG whose metadata are of any kind, and may be cut off or changed."""
    orders, turn = "<>", int(random.integers(0, 10))
    options = {
        "order": orders[random.integers(2)],
        "kind": int(random.choice([3, 3, 3, 4])),
        "count": int(random.choice([1, 1, 1, 2, 0])),
        "before": int(random.integers(0, 4)),
        "entries": int(random.choice([1, 1, 0, 2, 60_000])),
    }
    content = bytearray(exif(turn, **options))
    for _ in range(random.integers(0, 3)):
        content[random.integers(0, len(content))] = random.integers(0, 256)
    others = [
        segment(int(random.choice([0xE0, 0xE2, 0xFE, 0xDB])), bytes(int(random.integers(0, 5))))
    ] * random.integers(3)
    whole = (
        b"\xff\xd8"
        + b"".join(others)
        + b"\xff" * int(random.integers(0, 2))
        + bytes(content)
        + b"\xff\xdb\0\x43"
        + bytes(9)
    )
    return whole[: random.integers(0, len(whole) + 1)] if random.random() < 0.3 else whole


def test_orientations_are_read_alike_whatever_the_metadata_are(photo):
    random = np.random.default_rng(0)
    made = [damaged(random) for _ in range(1500)] + [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]
    made += [b"\xff\xd8" + segment(0xFE, b"") * count + exif(6) for count in (98, 99, 100)]
    expected = [image_header.orientation_of(encoded) for encoded in made]
    assert set(expected) == set(range(1, 9))
    assert expected[-3:] == [6, 6, 1]
    assert [photo.orientation_of(encoded) for encoded in made] == expected
    in_graph = tf.data.Dataset.from_tensor_slices(made).map(images.orientation_of)
    assert list(in_graph.as_numpy_iterator()) == expected


def test_a_broken_image_leaves_the_others_of_its_request_alone():
    names = [
        "RGB JPEG",
        "half a JPEG",
        "orientation 6",
        "a PNG of 10^8 pixels",
        "16-bit grey PNG",
        "nothing",
    ]
    made = [(ACCEPTED | REFUSED)[name] for name in names]
    pixels, decoded = served(tf.constant(made))
    assert decoded.numpy().tolist() == [name in ACCEPTED for name in names]
    for found, name in zip(pixels.numpy(), names, strict=True):
        expected = in_tf_data(ACCEPTED[name]) if name in ACCEPTED else np.zeros((SIDE, SIDE, 3))
        np.testing.assert_array_equal(found, expected)


def test_a_request_of_no_images_is_answered():
    pixels, decoded = served(tf.constant([], tf.string))
    assert pixels.shape == (0, SIDE, SIDE, 3)
    assert decoded.shape == (0,)
