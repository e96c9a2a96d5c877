"""How long a query takes on the page of export/edge/web/ in headless Chromium: JSON lines.

python tests/speed/page.py

The encoder sees 64 pixels, the gallery has 100,000 entries of 128 numbers. Of each photo 25 queries
are timed; the median is told. A query is what the page does once a photo is decoded: it stretches
the photo, encodes it, searches the gallery and shows the matches.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import figures
import numpy as np
from PIL import Image

from bct_keras.encoders import load_encoder
from bct_keras.gallery import vectors
from bct_keras.gallery.entries import known
from bct_keras.gallery.file import FileGallery

ENTRIES = 100_000
BAR = 50  # milliseconds
# The name of a photo's file, and its width and height.
PHOTOS = {"photo-small.png": (250, 250), "photo-of-a-phone.jpg": (4000, 3000)}


def make(folder: Path, encoder: Path) -> None:
    """Writes a gallery of random directions by an encoder, and photos of noise."""
    maker = known(load_encoder(encoder))
    random = np.random.default_rng(0)
    entries = vectors.unit(random.standard_normal((ENTRIES, maker.dims), np.float32))
    ids = [str(number) for number in range(ENTRIES)]
    with FileGallery(str(folder / "people.gallery")) as gallery:
        gallery.add(maker, ids, ids, entries)
    for name, (width, height) in PHOTOS.items():
        coarse = Image.fromarray(random.integers(0, 256, (9, 9, 3), np.uint8))
        coarse.resize((width, height)).save(folder / name)


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from gallery_readers.page import MissingError, chromium, served, write_encoder

    try:
        program = chromium()
    except MissingError as error:
        sys.exit(str(error))
    driver = str(Path(__file__).with_name("page.mjs"))
    with tempfile.TemporaryDirectory() as name, served() as address:
        make(Path(name), write_encoder(Path(name)))
        command = ["node", driver, program, address, name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    for name, times in json.loads(done.stdout).items():
        width, height = PHOTOS[name]
        for part, milliseconds in times.items():
            asked = f"at most {BAR}" if part == "whole" and name == "photo-small.png" else ""
            what = f"query on the page, {width} x {height}: {part}"
            median = round(float(np.median(milliseconds)), 2)
            figures.tell(figures.Figure(what, median, "ms", asked=asked))


if __name__ == "__main__":
    main()
