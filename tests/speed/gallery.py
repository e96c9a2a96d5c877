"""The gallery's speed and size against its bars, on random directions, the hardest case for recall:
JSON lines.

python tests/speed/gallery.py [FOLDER]    # where there is room for 0.6 GB; a temporary folder else
"""

import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bct_keras.gallery import vectors
from bct_keras.gallery.facts import KnownEncoder
from bct_keras.gallery.file import FileGallery

EDGE = Path(__file__).parents[2] / "export" / "edge"
QUERIES = 200
TOP = 10


def figure(name: str, value: float, unit: str, against: float, better: str) -> None:
    """`ratio` is above 1 where the bar is met."""
    ratio = value / against if better == "more" else against / value
    bar = f"{'at least' if better == 'more' else 'at most'} {against:,} {unit}".strip()
    print(
        json.dumps(
            {
                "name": name,
                "value": round(value, 4),
                "unit": unit,
                "against": bar,
                "ratio": round(ratio, 2),
            }
        )
    )


def directions(count: int, dims: int, seed: int) -> np.ndarray:
    return vectors.unit(np.random.default_rng(seed).standard_normal((count, dims), np.float32))


def names(count: int) -> tuple[list[str], list[str]]:
    ids = [f"identity-{number // 5:06}/{number % 5}.jpg" for number in range(count)]
    return ids, [str(number // 5) for number in range(count)]


def timed(call: Callable[[np.ndarray], object], queries: np.ndarray) -> tuple[list, float]:
    """What each query gave, and the median of their milliseconds."""
    found, times = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(call(query))
        times.append((time.perf_counter() - start) * 1e3)
    return found, float(np.median(times))


def recall(found: list[list[int]], exact: list[list[int]]) -> float:
    return float(
        np.mean([len(set(some) & set(all_)) / TOP for some, all_ in zip(found, exact, strict=True)])
    )


def adding(folder: Path, entries: int = 1_000_000, dims: int = 128, at_once: int = 10_000) -> None:
    """Batches as they come from an encoder: each is on the disk when its call returns, and can be
    searched.
    """
    ids, labels = names(entries)
    embeddings = directions(entries, dims, seed=0)
    path = folder / "million.gallery"
    start = time.perf_counter()
    with FileGallery(str(path)) as gallery:
        for first in range(0, entries, at_once):
            some = slice(first, first + at_once)
            gallery.add(
                KnownEncoder("0" * 64, dims, "random"), ids[some], labels[some], embeddings[some]
            )
        seconds = time.perf_counter() - start
    figure(
        f"{entries:,} entries of {dims} dimensions added durably",
        entries / seconds,
        "entries/s",
        20_000,
        "more",
    )
    with FileGallery(str(path)) as gallery:
        start = time.perf_counter()
        (found,) = gallery.search("0" * 64, embeddings[7:8], TOP)
        waited = time.perf_counter() - start
        assert found[0].id == ids[7]
    print(
        json.dumps(
            {"name": "searchable after", "value": round(waited, 2), "unit": "s, checksums and all"}
        )
    )
    path.unlink()


def querying(folder: Path, entries: int = 100_000, dims: int = 512) -> None:
    ids, labels = names(entries)
    embeddings, queries = directions(entries, dims, seed=0), directions(QUERIES, dims, seed=1)
    path = folder / "device.gallery"
    with FileGallery(str(path)) as gallery:
        gallery.add(KnownEncoder("0" * 64, dims, "random"), ids, labels, embeddings)
    exact = np.argsort(-(queries @ embeddings.T), axis=1)[:, :TOP].tolist()
    number_of = dict(zip(ids, range(entries), strict=True))
    extra = path.stat().st_size / entries - 2 * dims
    figure(
        "bytes an entry beyond its 16-bit vector, id and label included",
        extra,
        "bytes",
        300,
        "less",
    )
    search = edge_search()
    start = time.perf_counter()
    device = search.Gallery(str(path))
    figure("opening it on the device", (time.perf_counter() - start) * 1e3, "ms", 50, "less")
    device.check()
    found, median = timed(
        lambda query: [number_of[ident] for *_, ident in device.search("0" * 64, query, TOP)],
        queries,
    )
    of = f"of {entries:,} entries of {dims} dimensions"
    figure(f"query {of} on the device, median", median, "ms", 5, "less")
    figure(f"recall of the {TOP} best {of}", recall(found, exact), "", 0.99, "more")


def edge_search():
    specification = importlib.util.spec_from_file_location("edge_search", EDGE / "search.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        adding(Path(folder))
        querying(Path(folder))


if __name__ == "__main__":
    main()
