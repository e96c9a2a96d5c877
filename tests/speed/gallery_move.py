"""How fast a gallery is moved by an adapter, and taken back: JSON lines.

python tests/speed/gallery_move.py [FOLDER] # of 1.5 GB; a temporary one else

1,000,000 entries of 128 dimensions are moved by a residual adapter to 128 dimensions, durably, in
blocks with checksums. On a machine that others use as well, look at the figure by processor time.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bct_keras import adapters
from bct_keras.gallery import vectors
from bct_keras.gallery.facts import BY_EMBEDDING, Compatibility, KnownEncoder
from bct_keras.gallery.file import FileGallery
from bct_keras.gallery.moving import FittedAdapter, move_entries

ENTRIES, DIMS, AT_ONCE, PAIRS = 1_000_000, 128, 50_000, 2000
OLD = KnownEncoder("0" * 64, DIMS, "old")
NEW = KnownEncoder("1" * 64, DIMS, "new")


def figure(name: str, value: float, unit: str, against: float | None = None) -> None:
    """Prints a figure; `ratio` is above 1 where the bar, which is the least, is met."""
    found: dict[str, object] = {"name": name, "value": round(value, 3), "unit": unit}
    if against:
        found["against"] = f"at least {against:,} {unit}"
        found["ratio"] = round(value / against, 2)
    print(json.dumps(found), flush=True)


def directions(count: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return vectors.unit(draw.standard_normal((count, DIMS), np.float32))


def filled(path: Path) -> None:
    """Makes the gallery."""
    with FileGallery(str(path)) as gallery:
        for first in range(0, ENTRIES, AT_ONCE):
            ids = [
                f"identity-{number // 5:06}/{number}.jpg"
                for number in range(first, first + AT_ONCE)
            ]
            labels = [ident.partition("/")[0] for ident in ids]
            gallery.add(OLD, ids, labels, directions(AT_ONCE, seed=first))


def fitted(path: Path) -> FittedAdapter:
    """Fits a residual adapter for some made-up change, and reads it back as a user would."""
    source = directions(PAIRS, seed=1)
    turn = np.random.default_rng(2).standard_normal((DIMS, DIMS)).astype(np.float32)
    adapter = adapters.fit("residual", source, np.tanh(source @ turn), steps=20)
    return FittedAdapter(path, adapter)


def milliseconds(path: Path, encoder: KnownEncoder, queries: int = 50) -> float:
    """Returns the median time of a query."""
    times = []
    with FileGallery(str(path)) as gallery:
        for query in directions(queries, seed=3):
            start = time.perf_counter()
            gallery.search(encoder.fingerprint, query[None], 10)
            times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times))


def main() -> None:
    where = sys.argv[1] if len(sys.argv) > 1 else None
    of = f"{ENTRIES:,} x {DIMS}"
    with tempfile.TemporaryDirectory(dir=where) as folder:
        path = Path(folder) / "million.gallery"
        filled(path)
        adapter = fitted(Path(folder) / "adapter.keras")
        moved = adapter.moved(OLD)
        figure(f"query in {of} before the move, median", milliseconds(path, OLD), "ms")
        start, processor = time.perf_counter(), time.process_time()
        with FileGallery(str(path)) as gallery:
            gallery.refresh()
            gallery.declare(
                Compatibility(NEW.fingerprint, moved.fingerprint, "", "compatible", by=BY_EMBEDDING)
            )
            count = move_entries(gallery, OLD, adapter)
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        assert count == ENTRIES
        figure(f"{of} moved durably", ENTRIES / seconds, "entries/s", 50_000)
        figure("the same by the time of one core", ENTRIES / processor, "entries/s", 50_000)
        figure("bytes an entry while originals are kept", path.stat().st_size / ENTRIES, "bytes")
        figure(f"query in {of} moved, median", milliseconds(path, NEW), "ms")
        for name, end in (("restored", "restore"), ("finally moved", "forget_originals")):
            if end == "forget_originals":
                with FileGallery(str(path)) as gallery:
                    move_entries(gallery, OLD, adapter)
            start = time.perf_counter()
            with FileGallery(str(path)) as gallery:
                getattr(gallery, end)()
            seconds = time.perf_counter() - start
            figure(f"{of} {name}, and written anew", ENTRIES / seconds, "entries/s")
        figure(f"query in {of} finally moved, median", milliseconds(path, NEW), "ms")


if __name__ == "__main__":
    main()
