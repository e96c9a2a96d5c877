"""How many images a second the synthetic source makes on one core: one JSON line."""

import json
import time

from bct_keras.prepare.sources.synthetic import Synthetic

REQUIRED = 2000  # images/s
IMAGES = 2000
ROUNDS = 5  # the fastest counts: other programs on the machine only ever slow a round down


def images_per_second(first_identity: int) -> float:
    """Of identities not seen before, so that making their textures is part of the time."""
    source = Synthetic(identities=ROUNDS * IMAGES // 20, images=20, image_size=64)
    first = first_identity * source.images
    start = time.perf_counter()
    for position in range(first, first + IMAGES):
        source.read(position)
    return IMAGES / (time.perf_counter() - start)


def main() -> None:
    rate = max(images_per_second(index * IMAGES // 20) for index in range(ROUNDS))
    figure = {
        "name": "synthetic source, 64 x 64, one core",
        "value": round(rate),
        "unit": "images/s",
        "against": f"{REQUIRED:,} images/s",
        "ratio": round(rate / REQUIRED, 2),
    }
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
