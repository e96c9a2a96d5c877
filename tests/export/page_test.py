"""The page in export/edge/web/ does in Chromium what Python does."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery_readers.page import DIMS, SIZE, WEB, MissingError, chromium, served, write_encoder
from PIL import Image

from bct_keras.encoders import load_encoder
from bct_keras.gallery import vectors
from bct_keras.gallery.entries import known
from bct_keras.gallery.facts import BY_EMBEDDING, Compatibility, KnownEncoder
from bct_keras.gallery.file import FileGallery
from bct_keras.metrics.odds import Odds

ROOT = Path(__file__).parents[2]
DRIVER = ROOT / "tests" / "gallery_readers" / "page.mjs"
ENTRIES = 100_000

pytestmark = pytest.mark.long


def photos() -> dict[str, bytes]:
    """Returns ten photos of several sizes and kinds."""
    found = {}
    for number in range(10):
        height, width = 40 + 37 * number, 64 + 11 * number * number
        random = np.random.default_rng(number)
        coarse = random.integers(0, 256, (6, 5, 3), np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        encoded = io.BytesIO()
        if number % 3 == 0:
            image.save(encoded, "PNG")
        else:
            exif = Image.Exif()
            exif[0x0112] = 1 + number % 8
            image.save(encoded, "JPEG", quality=92, subsampling=2 * (number % 2), exif=exif)
        suffix = "png" if number % 3 == 0 else "jpg"
        found[f"photo{number}.{suffix}"] = encoded.getvalue()
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Makes a model, galleries and photos."""
    folder = tmp_path_factory.mktemp("page")
    maker = known(load_encoder(write_encoder(folder)))
    random = np.random.default_rng(0)
    entries = vectors.unit(random.standard_normal((ENTRIES, DIMS), np.float32))
    ids = [f"photo {number}" for number in range(ENTRIES)]
    odds = Odds.of_pairs(np.linspace(0.3, 0.9, 99), np.linspace(-0.9, 0.25, 999)).facts()
    own = Compatibility(maker.fingerprint, maker.fingerprint, "", "", BY_EMBEDDING, odds)
    with FileGallery(str(folder / "people.gallery")) as gallery:
        gallery.add(maker, ids, ids, entries)
        gallery.declare(own)
    with FileGallery(str(folder / "stranger.gallery")) as gallery:
        gallery.add(KnownEncoder("9" * 64, DIMS, "stranger"), ids[:9], ids[:9], entries[:9])
    damaged = bytearray((folder / "stranger.gallery").read_bytes())
    damaged[600] ^= 1
    (folder / "damaged.gallery").write_bytes(damaged)
    (folder / "letter.txt").write_text("Dear Sir or Madam")
    for name, content in photos().items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def page(folder) -> dict[str, Any]:
    """Returns what a person finds on the page."""
    try:
        program = chromium()
    except MissingError as error:
        pytest.skip(str(error))
    with served() as address:
        command = ["node", str(DRIVER), program, address, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_sees_the_same_pixels_and_embeds_them_alike(page, folder):
    sys.path.insert(0, str(WEB.parent))
    try:
        from photo import pixels_of  # pyright: ignore[reportMissingImports]
    finally:
        sys.path.remove(str(WEB.parent))
    encoder = load_encoder(folder / "encoder.tflite")
    assert len(page["pixels"]) == 10
    for name, pixels in page["pixels"].items():
        expected = pixels_of(str(folder / name), SIZE)
        np.testing.assert_array_equal(np.reshape(pixels, expected.shape), expected, name)
        embedding = encoder.embed(expected[None])[0]
        np.testing.assert_allclose(page["embeddings"][name], embedding, atol=1e-3)


def test_it_finds_the_same_neighbours_in_a_large_gallery(page, folder):
    queries = np.array(list(page["embeddings"].values()), np.float32)
    fingerprint = load_encoder(folder / "encoder.tflite").fingerprint
    with FileGallery(str(folder / "people.gallery")) as gallery:
        expected = gallery.search(fingerprint, queries, 10)
    for matches, ids in zip(expected, page["matches"].values(), strict=True):
        assert [match.id for match in matches] == ids
    assert set(page["badges"]) <= {"match", "no match"}
    # A name of which there is one entry, and one that nobody has.
    assert page["only"] == ["photo 7"]
    assert "(1 entry in" in page["said"]["only"]
    assert page["said"]["nobody"] == "The gallery has no entry with the name nobody."


def test_it_refuses_in_words_and_needs_no_network(page):
    said = page["said"]
    assert said["start"] == "Choose a model, a gallery and a photo."
    assert said["model"].startswith("encoder.tflite: 64 x 64 pixels")
    assert said["gallery"] == "people.gallery: 100,000 entries, every checksum holds"
    assert said["damaged"] == "This gallery is damaged; copy it again."
    assert "not known to fit every entry" in said["stranger"]
    assert said["letter"] == "This is no JPEG or PNG image."
    assert page["errors"] == []


def test_it_fits_a_phone_and_a_keyboard_reaches_everything(page):
    assert page["overflow"] <= 0
    assert page["focused"] == ["model", "gallery", "photo", "camera", "far", "only"]
    assert page["unlabelled"] == []
