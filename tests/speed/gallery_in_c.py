"""The reader in C against the one in Python, each of which takes one thread: JSON lines.

python tests/speed/gallery_in_c.py
"""

import ctypes
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bct_keras.gallery import vectors
from bct_keras.gallery.facts import KnownEncoder
from bct_keras.gallery.file import FileGallery

HEADER = Path(__file__).parents[2] / "export" / "edge" / "c" / "bct_gallery.h"
OLD = KnownEncoder("0" * 64, 512, "random")
ENTRIES, QUERIES, TOP = 100_000, 50, 10


class Query(ctypes.Structure):
    """`bct_query`."""

    _fields_ = [
        ("encoder", ctypes.c_char_p),
        ("embedding", ctypes.c_void_p),
        ("dims", ctypes.c_size_t),
        ("compatible", ctypes.c_void_p),
        ("compatible_dims", ctypes.c_size_t),
        ("labels", ctypes.c_void_p),
        ("label_count", ctypes.c_size_t),
    ]


class Match(ctypes.Structure):
    """`bct_match`."""

    _fields_ = [
        ("id", ctypes.c_void_p),
        ("id_bytes", ctypes.c_size_t),
        ("label", ctypes.c_void_p),
        ("label_bytes", ctypes.c_size_t),
        ("encoder", ctypes.c_char_p),
        ("score", ctypes.c_double),
        ("rate", ctypes.c_double),
    ]


class OpenGallery(ctypes.Structure):
    """`bct_gallery`."""

    _fields_ = [("entries", ctypes.c_uint64), ("contents", ctypes.c_void_p)]


def figure(name: str, value: float, unit: str, **more) -> None:
    print(json.dumps({"name": name, "value": round(value, 3), "unit": unit, **more}), flush=True)


def directions(count: int, seed: int) -> np.ndarray:
    return vectors.unit(np.random.default_rng(seed).standard_normal((count, OLD.dims), np.float32))


def compiled(folder: Path) -> ctypes.CDLL:
    source = folder / "gallery.c"
    source.write_text(f'#define BCT_GALLERY_IMPLEMENTATION\n#include "{HEADER}"\n')
    library = folder / "gallery.so"
    command = ["cc", "-O3", "-march=native", "-shared", "-fPIC", str(source), "-o", str(library)]
    subprocess.run([*command, "-lm"], check=True)
    return ctypes.CDLL(str(library))


def milliseconds(call, queries: np.ndarray) -> tuple[list, float]:
    found, times = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(call(query))
        times.append((time.perf_counter() - start) * 1e3)
    return found, float(np.median(times))


def main() -> None:
    queries = directions(QUERIES, seed=1)
    ids = [f"identity-{number // 5:06}/{number % 5}.jpg" for number in range(ENTRIES)]
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        path = Path(folder) / "people.gallery"
        with FileGallery(str(path)) as gallery:
            gallery.add(OLD, ids, ids, directions(ENTRIES, seed=0))
        with FileGallery(str(path)) as gallery:

            def by_python(query: np.ndarray) -> list[str]:
                return [each.id for each in gallery.search(OLD.fingerprint, query[None], TOP)[0]]

            by_python(queries[0])
            expected, in_python = milliseconds(by_python, queries)
        found, in_c = in_library(compiled(Path(folder)), path.read_bytes(), queries)
    assert found == expected
    of = f"query of {ENTRIES:,} entries of {OLD.dims} dimensions, 1 thread"
    figure(f"{of}, in Python", in_python, "ms")
    bar = f"at most 2 times Python's {in_python:.3f} ms"
    figure(f"{of}, in C", in_c, "ms", against=bar, ratio=round(2 * in_python / in_c, 2))


def in_library(library: ctypes.CDLL, content: bytes, queries: np.ndarray) -> tuple[list, float]:
    gallery = OpenGallery()
    start = time.perf_counter()
    status = library.bct_gallery_open(
        ctypes.byref(gallery), ctypes.c_char_p(content), ctypes.c_size_t(len(content))
    )
    assert status == 0
    figure("opening it in C, checksums and all", (time.perf_counter() - start) * 1e3, "ms")
    matches = (Match * TOP)()
    count = ctypes.c_size_t()

    def search(query: np.ndarray) -> list[str]:
        asked = Query(OLD.fingerprint.encode(), query.ctypes.data, len(query), None, 0, None, 0)
        status = library.bct_gallery_search(
            ctypes.byref(gallery),
            ctypes.byref(asked),
            ctypes.c_size_t(TOP),
            matches,
            ctypes.byref(count),
        )
        assert status == 0
        found = matches[: count.value]
        return [ctypes.string_at(each.id, each.id_bytes).decode() for each in found]

    return milliseconds(search, queries)


if __name__ == "__main__":
    main()
