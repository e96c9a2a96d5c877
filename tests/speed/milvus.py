"""How fast a gallery in Milvus is filled, and a second encoder's field beside it while clients
search, and whether the switch and the way back lose anything: JSON lines.

MILVUS_ADDRESS=http://host:19530 python tests/speed/milvus.py
python tests/speed/milvus.py --entries=100000  # without an address: Milvus Lite, a temporary folder

Embeddings are random directions. While the field is filled, entries are added and removed as well.
Every answer is looked at: it has to come by the query's own encoder alone, with the entry itself
first. The exit status is 1 where an entry is lost or a search is answered by the wrong field.
"""

import argparse
import json
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from bct_keras.gallery import backfill as backfilling
from bct_keras.gallery import vectors
from bct_keras.gallery.backfill import backfill
from bct_keras.gallery.facts import Compatibility, KnownEncoder
from bct_keras.gallery.milvus import MilvusGallery
from bct_keras.gallery.orders import stored

BLOCK = 10_000  # entries that are made up, and added, at once
PROBES = 200
TOP = 10


def figure(name: str, value: float, unit: str, against: float | None = None) -> None:
    """Prints a figure; `against` is the most that it may be."""
    found: dict[str, object] = {"name": name, "value": round(value, 3), "unit": unit}
    if against is not None:
        found["against"] = f"at most {against:g}"
    print(json.dumps(found), flush=True)


class Made:
    """The embeddings that an encoder would give, made up block by block."""

    def __init__(self, known: KnownEncoder, seed: int):
        self.known, self.seed = known, seed
        self.block: tuple[int, np.ndarray] = (-1, np.zeros((0, known.dims)))

    def __contains__(self, ident: object) -> bool:
        return True

    def of_block(self, number: int) -> np.ndarray:
        if self.block[0] != number:
            draw = np.random.default_rng([self.seed, number])
            units = vectors.unit(draw.standard_normal((BLOCK, self.known.dims), np.float32))
            self.block = number, units
        return self.block[1]

    def of(self, number: int) -> np.ndarray:
        return self.of_block(number // BLOCK)[number % BLOCK]

    def embeddings_of(self, ids: list[str]) -> np.ndarray:
        return np.stack([self.of(int(ident)) for ident in ids])


def ids_of(first: int, count: int) -> list[str]:
    """Returns ids that sort as their numbers."""
    return [f"{number:09}" for number in range(first, first + count)]


class Clients:
    """Several clients that search on and on, and look at every answer."""

    def __init__(self, given: argparse.Namespace, probes: list[int], by: Made):
        self.given, self.by = given, by
        self.probes = [(f"{number:09}", by.of(number).copy()) for number in probes]
        self.seconds: list[float] = []
        self.wrong, self.not_first, self.errors = 0, 0, []
        self.ended = threading.Event()

    def __enter__(self):
        self.start = time.perf_counter()
        self.threads = [
            threading.Thread(target=self.search, args=(number,))
            for number in range(self.given.clients)
        ]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        while len(self.seconds) + len(self.errors) < self.given.searches and any(
            thread.is_alive() for thread in self.threads
        ):
            time.sleep(0.1)
        self.ended.set()
        for thread in self.threads:
            thread.join()
        self.whole = time.perf_counter() - self.start

    def search(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        fingerprint = self.by.known.fingerprint
        with MilvusGallery(self.given.address, self.given.collection) as gallery:
            is_first = True
            while is_first or not self.ended.wait(self.given.pause):
                is_first = False
                ident, query = self.probes[draw.integers(len(self.probes))]
                start = time.perf_counter()
                try:
                    [matches] = gallery.search(fingerprint, query[None], TOP)
                except Exception as error:  # each one counts, whatever it is
                    self.errors.append(str(error))
                    continue
                self.seconds.append(time.perf_counter() - start)
                self.wrong += any(match.encoder != fingerprint for match in matches)
                self.not_first += not matches or matches[0].id != ident

    def report(self, when: str) -> bool:
        """Prints the figures; returns whether every search was answered by the right field."""
        name = f"{self.given.clients} clients {when}"
        figure(f"{name}: searches", len(self.seconds) / self.whole, "a second")
        if self.seconds:
            figure(f"{name}: a search, median", float(np.median(self.seconds)) * 1e3, "ms")
            figure(f"{name}: the longest search", max(self.seconds) * 1e3, "ms")
        figure(f"{name}: answered by the wrong field", self.wrong, "searches", 0)
        figure(f"{name}: the entry itself not first", self.not_first, "searches", 0)
        figure(f"{name}: failed", len(self.errors), "searches", 0)
        for error in self.errors[:1]:
            print(json.dumps({"name": f"{name}: first error", "value": error}), flush=True)
        return bool(self.seconds) and not (self.wrong or self.errors)


def timed(name: str, call, entries: int = 0):
    """Calls, prints how long it took, or how many entries a second, and returns what it gave."""
    start = time.perf_counter()
    found = call()
    seconds = time.perf_counter() - start
    if entries:
        figure(name, entries / seconds, "entries/s")
    else:
        figure(name, seconds, "s")
    return found


def fill(gallery: MilvusGallery, old: Made, entries: int) -> None:
    for first in range(0, entries, BLOCK):
        ids = ids_of(first, BLOCK)
        gallery.add(old.known, ids, ids, old.of_block(first // BLOCK))


def lost(gallery: MilvusGallery, expected: set[str]) -> int:
    """Returns how many entries are missing, or there twice, or there though removed."""
    gallery.refresh()
    there = [row["id"] for row in gallery.live.entries()]
    return len(expected ^ set(there)) + len(there) - len(set(there))


def disturbed(given: argparse.Namespace, old: Made, extra: list[str], gone: list[str]) -> None:
    """Adds and removes entries, as another writer does while the field is filled."""
    with MilvusGallery(given.address, given.collection) as writer:
        writer.add(old.known, extra, extra, old.embeddings_of(extra))
        writer.remove(ids=gone)


class DisturbedOnce:
    """New embeddings, in the midst of which another writer adds and removes entries."""

    def __init__(self, new: Made, after: int, disturb):
        self.new, self.left, self.disturb = new, after, disturb

    def __contains__(self, ident: object) -> bool:
        return True

    def embeddings_of(self, ids: list[str]) -> np.ndarray:
        before, self.left = self.left, self.left - len(ids)
        if self.left <= 0 < before:
            self.disturb()
        return self.new.embeddings_of(ids)


def measured(given: argparse.Namespace) -> bool:
    """Goes the whole way; returns whether nothing was lost and no field answered for another."""
    old = Made(KnownEncoder("0" * 64, given.dims, "old"), seed=1)
    new = Made(KnownEncoder("1" * 64, given.dims, "new"), seed=2)
    entries, of = given.entries, f"{given.entries:,} x {given.dims}"
    step = max(entries // PROBES, 2)
    probes = [number for number in range(1, entries, step) if number % 10]  # none is removed
    extra = ids_of(entries, 1000)
    gone = [f"{number:09}" for number in range(0, entries, max(entries // 100, 10) // 10 * 10)]
    expected = set(ids_of(0, entries)) | set(extra)
    expected -= set(gone)
    good = True
    with MilvusGallery(given.address, given.collection) as gallery:
        timed(f"{of}, first fill", lambda: fill(gallery, old, entries), entries)
        timed("indexed", gallery.live.settle)
        gallery.facts.withdraw_all()
        batch = np.stack([old.of(number) for number in probes])
        start = time.perf_counter()
        gallery.search(old.known.fingerprint, batch, TOP)
        batch_seconds = time.perf_counter() - start
        figure(f"a query among {len(batch)} at once", batch_seconds / len(batch) * 1e3, "ms")
        gallery.declare(
            Compatibility(new.known.fingerprint, old.known.fingerprint, "", "compatible")
        )
        others = DisturbedOnce(new, entries // 2, lambda: disturbed(given, old, extra, gone))
        place = gallery.to_backfill(new.known)
        with Clients(given, probes, old) as clients:
            timed(
                f"{of}, backfilled beside while {given.clients} clients search",
                lambda: backfill(place, new.known, others, stored()),
                entries,
            )
        good &= clients.report("while it is filled")
        place = gallery.to_backfill(new.known)
        count, _ = backfill(place, new.known, new, stored())
        figure("added meanwhile, and embedded by a second run", count, "entries")
        with Clients(given, probes, old) as clients:
            switched = timed("cut over", gallery.cut_over)
        good &= clients.report("at the cut-over")
        figure("copied as they were", switched.carried, "entries", 0)
        losses = [lost(gallery, expected)]
        with Clients(given, probes, new) as clients:
            pass  # they search as often as is asked for
        good &= clients.report("after it, by the new encoder")
        with Clients(given, probes, old) as clients:
            timed("switched back", gallery.restore)
        good &= clients.report("at the way back, by the old encoder")
        losses.append(lost(gallery, expected))
        figure("lost at the cut-over", losses[0], "entries", 0)
        figure("lost at the way back", losses[1], "entries", 0)
    return good and not any(losses)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=1_000_000, help=f"a multiple of {BLOCK:,}")
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--pause", type=float, default=0.2, help="of a client, between searches")
    parser.add_argument("--searches", type=int, default=20, help="at least, in every part")
    parser.add_argument(
        "--lot",
        type=int,
        default=backfilling.AT_ONCE,
        help="entries that a backfill embeds at once",
    )
    parser.add_argument("--collection", default="speed", help="in which there must be nothing yet")
    given = parser.parse_args()
    if given.entries % BLOCK:
        parser.error(f"--entries has to be a multiple of {BLOCK:,}")
    backfilling.AT_ONCE = given.lot
    with tempfile.TemporaryDirectory() as folder:
        given.address = os.environ.get("MILVUS_ADDRESS") or str(Path(folder) / "speed.db")
        good = measured(given)
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
