"""Measures the time and memory that a device takes to embed a photo and to search the gallery.

It prints one JSON line per figure.

    python latency.py --model=encoder.tflite --gallery=people.gallery --image=me.jpg

Needs what search.py needs.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable

import numpy as np
from encoder import Encoder
from gallery_search import Gallery


def milliseconds(call: Callable[[], object]) -> float:
    """Returns how long a call takes."""
    start = time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    return seconds * 1e3


def measure(name: str, call: Callable[[], object], rounds: int) -> None:
    """Reports the median and the 99th percentile of the time that a call takes."""
    call()  # the first time also reads the file
    times = []
    for _ in range(rounds):
        times.append(milliseconds(call))
    for share in (50, 99):
        longest = np.percentile(times, share)
        report(f"{name}, p{share}", float(longest), "ms")


def report(name: str, value: float, unit: str) -> None:
    """Prints one figure."""
    figure = {"name": name, "value": round(value, 3), "unit": unit}
    print(json.dumps(figure), flush=True)


def main() -> None:
    """Measures what the flags name."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, help="a .tflite file")
    parser.add_argument("--gallery", required=True, help="a gallery file")
    parser.add_argument("--image", required=True, help="a JPEG or PNG file")
    parser.add_argument("--rounds", type=int, default=200, help="how often each is measured")
    given = parser.parse_args()
    start = time.perf_counter()
    gallery = Gallery(given.gallery)
    opening_seconds = time.perf_counter() - start
    report("open the gallery", opening_seconds * 1e3, "ms")
    one = Encoder(given.model, threads=1)
    two = Encoder(given.model, threads=2)
    measure("embed the photo, 1 thread", lambda: one.embed(given.image), given.rounds)
    measure("embed the photo, 2 threads", lambda: two.embed(given.image), given.rounds)
    embeddings = one.embed(given.image)
    query = gallery.query_of(one.fingerprint, embeddings)
    searched = f"search {gallery.entries:,} entries of {gallery.dims} dimensions, 1 thread"
    measure(searched, lambda: gallery.search(one.fingerprint, query, 10), given.rounds)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    name = "largest memory, what was read of the mapped gallery included"
    report(name, usage.ru_maxrss / 1024, "MiB")  # Linux counts in KiB


if __name__ == "__main__":
    main()
