"""How long a device takes to embed a photo and to search the gallery, and how much memory: one JSON
line per figure.

    python latency.py --model=encoder.tflite --gallery=people.gallery --image=me.jpg

Needs what search.py needs.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable

import numpy as np
from search import Encoder, Gallery


def measure(name: str, call: Callable[[], object], rounds: int) -> None:
    call()  # the first time also reads the file
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    for share in (50, 99):
        report(f"{name}, p{share}", float(np.percentile(times, share)), "ms")


def report(name: str, value: float, unit: str) -> None:
    print(json.dumps({"name": name, "value": round(value, 3), "unit": unit}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("model", "gallery", "image"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=200)
    given = parser.parse_args()
    start = time.perf_counter()
    gallery = Gallery(given.gallery)
    report("open the gallery", (time.perf_counter() - start) * 1e3, "ms")
    one, two = Encoder(given.model, threads=1), Encoder(given.model, threads=2)
    measure("embed the photo, 1 thread", lambda: one.embed(given.image), given.rounds)
    measure("embed the photo, 2 threads", lambda: two.embed(given.image), given.rounds)
    query = one.embed(given.image)
    searched = f"search {gallery.entries:,} entries of {gallery.dims} dimensions, 1 thread"
    measure(searched, lambda: gallery.search(one.fingerprint, query, 10), given.rounds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report("largest memory, what was read of the mapped gallery included", peak, "MiB")


if __name__ == "__main__":
    main()
