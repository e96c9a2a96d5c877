"""RecordIO files for speed scripts, made as InsightFace's are."""

import io
import itertools
import struct
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from bct_keras.prepare.sources.synthetic import render

IMAGES_PER_IDENTITY = 50


def jpegs(count: int) -> list[bytes]:
    """Of 112 x 112 pixels and 6 to 10 KB."""
    return [jpeg(number, 6_000 + 3_000 * number // count) for number in range(count)]


def jpeg(number: int, least_bytes: int) -> bytes:
    picture = Image.fromarray(render(0, number // 20, number % 20, 112).transpose(1, 2, 0))
    for quality in itertools.count(70, 3):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=min(quality, 100))
        if len(file.getvalue()) >= least_bytes or quality >= 100:
            return file.getvalue()
    raise AssertionError


def write_recordio(folder: Path, images: Sequence[bytes], count: int) -> None:
    """As InsightFace's: a header record, images, and each identity's range of them."""
    identities = -(-count // IMAGES_PER_IDENTITY)
    folder.mkdir()
    (folder / "property").write_text(f"{identities},112,112")
    with (folder / "train.rec").open("wb") as file, (folder / "train.idx").open("w") as index:

        def write(key: int, first: float, second: float, image: bytes) -> None:
            payload = struct.pack("<IfQQff", 2, 0.0, key, 0, first, second) + image
            index.write(f"{key}\t{file.tell()}\n")
            file.write(
                struct.pack("<II", 0xCED7230A, len(payload)) + payload + bytes(-len(payload) % 4)
            )

        write(0, count + 1, count + 1 + identities, b"")
        for number in range(count):
            write(number + 1, number // IMAGES_PER_IDENTITY, 0.0, images[number % len(images)])
        for identity in range(identities):
            first = 1 + identity * IMAGES_PER_IDENTITY
            write(count + 1 + identity, first, min(first + IMAGES_PER_IDENTITY, count + 1), b"")
