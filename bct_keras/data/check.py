"""Reads a data set or a RecordIO folder whole and says what is there and what is broken, without decoding pixels."""

import hashlib
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import processes, progress
from bct_keras.data import image_header
from bct_keras.data.check_targets import StartAgainError, Target, open_target
from bct_keras.errors import BadImageError, InputError
from bct_keras.printable import line
from bct_keras.progress import Say

RECORDS_PER_REPORT = 256
RECORDS_WORTH_A_PROCESS = 4096
# Images of the same length whose last bytes agree are compared whole: compressed pixels, or a PNG's checksums.
TAIL_BYTES = 512
LISTED_DUPLICATES, LISTED_BROKEN = 20, 1000

Report = Callable[[int], object]


@dataclass(frozen=True)
class Found:
    """What a task found; arrays are [images] of those that are whole."""

    places: np.ndarray
    labels: np.ndarray
    likeness: np.ndarray  # equal for equal images
    sizes: Counter[tuple[int, int]]
    broken: list[str]


def look(target: Target, task: Any, report: Report) -> Found:
    try:
        return look_once(target, task, report)
    except StartAgainError:
        return look_once(target, task, lambda _: None)  # which are counted already


def look_once(target: Target, task: Any, report: Report) -> Found:
    places, labels, likeness, sizes = [], [], [], []
    broken: list[str] = []
    for number, image in enumerate(target.images(task), 1):
        if isinstance(image, BadImageError):
            broken.append(str(image))
        else:
            try:
                sizes.append(image_header.size_in(image.encoded))
            except BadImageError as bad:
                broken.append(f"{target.where(image.place)}: {bad}")
            else:
                places.append(image.place)
                labels.append(image.label)
                likeness.append(len(image.encoded) << 32 | zlib.crc32(image.encoded[-TAIL_BYTES:]))
        if number % RECORDS_PER_REPORT == 0:
            report(RECORDS_PER_REPORT)
    places, labels, likeness = (np.array(column, np.int64) for column in (places, labels, likeness))
    return Found(places, labels, likeness, Counter(sizes), broken)


@dataclass(frozen=True)
class Duplicates:
    images: int  # that repeat an earlier one byte for byte
    under_another_identity: int
    listed: list[str]


def check(path: Path, process_count: int, say: Say) -> None:
    """Says what is there, and raises where anything is broken."""
    target = open_target(path)
    found = together(
        divided(target, look, target.tasks, "checking", target.records, process_count),
        target.broken,
    )
    for text in report(target, found, duplicates(target, found, process_count)):
        say(line(text))
    if found.broken:
        more = [f"{len(found.broken)} such places"] if len(found.broken) > 1 else []
        raise InputError(found.broken[0], *more)


def divided(
    target: Target,
    work: Callable[..., Any],
    tasks: list[Any],
    what: str,
    total: int,
    process_count: int,
) -> list[Any]:
    """The results of the tasks, in their order."""
    count = max(min(process_count or processes.cores(), total // RECORDS_WORTH_A_PROCESS), 1)
    with progress.bar(what, total) as bar:
        done = dict(
            processes.run(lambda task, report: work(target, task, report), tasks, count, bar.update)
        )
    return [done[number] for number in range(len(tasks))]


def together(parts: list[Found], broken: list[str]) -> Found:
    nothing = np.empty(0, np.int64)
    return Found(
        np.concatenate([nothing, *(part.places for part in parts)]),
        np.concatenate([nothing, *(part.labels for part in parts)]),
        np.concatenate([nothing, *(part.likeness for part in parts)]),
        sum((part.sizes for part in parts), Counter()),
        broken + [text for part in parts for text in part.broken],
    )


def duplicates(target: Target, found: Found, process_count: int) -> Duplicates:
    _, group, images = np.unique(found.likeness, return_inverse=True, return_counts=True)
    alike = np.flatnonzero(images[group] > 1)
    tasks = np.array_split(found.places[alike], max(len(alike) // RECORDS_WORTH_A_PROCESS, 1))
    hashes = np.concatenate(divided(target, hashed, tasks, "comparing", len(alike), process_count))
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    repeats = np.flatnonzero(first[group] != np.arange(len(alike)))
    rows, originals = alike[repeats], alike[first[group[repeats]]]
    pairs = zip(rows[:LISTED_DUPLICATES], originals[:LISTED_DUPLICATES], strict=True)
    return Duplicates(
        len(rows),
        int(np.sum(found.labels[rows] != found.labels[originals])),
        [
            f"{name_of(target, found, row)} = {name_of(target, found, original)}"
            for row, original in pairs
        ],
    )


def hashed(target: Target, places: np.ndarray, report: Report) -> np.ndarray:
    """The first 8 bytes of each image's sha256."""
    hashes = [hashlib.sha256(target.read(place)[1]).digest()[:8] for place in places.tolist()]
    report(len(places))
    return np.frombuffer(b"".join(hashes), np.int64)


def name_of(target: Target, found: Found, row: int) -> str:
    return f"{target.read(int(found.places[row]))[0]} of identity {found.labels[row]}"


def report(target: Target, found: Found, repeated: Duplicates) -> list[str]:
    images = np.bincount(found.labels)
    images = images[images > 0]
    lines = [f"{target.title}, {len(found.labels):,} whole images of {len(images):,} identities"]
    if len(images):
        once = int(np.sum(images == 1))
        lines.append(
            f"images per identity: {images.min()} to {images.max()}, {images.mean():.1f} on average; "
            f"{once:,} identities have one image"
        )
    sizes = [
        f"{width} x {height}: {count:,}" for (width, height), count in found.sizes.most_common(10)
    ]
    others = [f"{len(found.sizes) - 10} other sizes"] if len(found.sizes) > 10 else []
    lines.append(f"sizes: {', '.join(sizes + others) or 'none'}")
    lines.append(
        f"duplicates: {repeated.images:,} images repeat an earlier one byte for byte, "
        f"{repeated.under_another_identity:,} of them under another identity"
    )
    lines += [f"  {text}" for text in repeated.listed]
    lines.append(
        f"broken: {len(found.broken):,} (records, headers and ends were looked at, no pixels decoded)"
    )
    lines += [f"  {text}" for text in found.broken[:LISTED_BROKEN]]
    return lines
