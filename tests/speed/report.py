"""How long the report of a test set takes, with embeddings that are there already.

    python tests/speed/report.py [IMAGES]

21,200 images of 1,060 identities, as Omniglot's test part has them, in 128 dimensions: embeddings
made up at random, near a point of their identity. Prints a JSON line with the seconds of processor
time of the whole report, plots and page included; `ratio` is above 1 where it is met.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bct_keras.encoders import load_encoder
from bct_keras.evaluate.run import evaluate

IMAGES = 21_200
IMAGES_OF_EACH = 20
DIMS = 128
NOISE_OF = {"old": 1.6, "new": 1.2}  # of each coordinate, beside an identity's own of 1
ASKED = 20.0  # seconds


def write_encoders(folder: Path, images: int) -> None:
    """Writes old.npz, new.npz and the list of their items, listed.npz."""
    random = np.random.default_rng(0)
    labels = np.arange(images) // IMAGES_OF_EACH
    identities = random.normal(size=(labels[-1] + 1, DIMS))
    ids = np.array([f"{label:05}/{row % IMAGES_OF_EACH:02}" for row, label in enumerate(labels)])
    for name, noise in NOISE_OF.items():
        embeddings = identities[labels] + noise * random.normal(size=(images, DIMS))
        np.savez(folder / f"{name}.npz", embeddings=embeddings.astype(np.float32), ids=ids)
    np.savez(folder / "listed.npz", ids=ids, labels=labels)


def main() -> None:
    """Makes the report and prints how long that took."""
    images = int(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_encoders(folder, images)
        old, new = load_encoder(folder / "old.npz"), load_encoder(folder / "new.npz")
        start, start_wall = time.process_time(), time.perf_counter()
        evaluate(old, new, [f"listed({folder / 'listed.npz'})"], folder / "report")
        seconds = time.process_time() - start
        wall = time.perf_counter() - start_wall
    figure = {
        "name": f"report on {images:,} images",
        "value": round(seconds, 1),
        "unit": "s of one core",
        "wall": round(wall, 1),
        "against": f"at most {ASKED:g} s",
        "ratio": round(ASKED / seconds, 2),
    }
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
