"""Reads a data set or a RecordIO folder whole, and says what is there and what is broken.

No pixels are decoded.
"""

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
from bct_keras.errors import BadImageError, InputError
from bct_keras.prepare.check_targets import StartAgainError, Target, open_target
from bct_keras.printable import line
from bct_keras.progress import Say

RECORDS_PER_REPORT = 256
RECORDS_WORTH_A_PROCESS = 4096
# Images of the same length whose last bytes agree are compared whole. The last bytes are compressed
# pixels, or a PNG's checksums.
TAIL_BYTES = 512
LISTED_DUPLICATES = 20
LISTED_BROKEN = 1000
LISTED_SIZES = 10

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
    """Looks at one task; once more where the way it was read turns out to be wrong."""

    def report_nothing(count: int) -> None:
        pass

    try:
        return look_once(target, task, report)
    except StartAgainError:
        return look_once(target, task, report_nothing)  # they are counted already


def look_once(target: Target, task: Any, report: Report) -> Found:
    """Looks at the images of one task, whose headers and ends are read and no pixels decoded."""
    places: list[int] = []
    labels: list[int] = []
    likeness: list[int] = []
    sizes: list[tuple[int, int]] = []
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
                tail = zlib.crc32(image.encoded[-TAIL_BYTES:])
                likeness.append(len(image.encoded) << 32 | tail)
        if number % RECORDS_PER_REPORT == 0:
            report(RECORDS_PER_REPORT)
    return Found(
        places=np.array(places, np.int64),
        labels=np.array(labels, np.int64),
        likeness=np.array(likeness, np.int64),
        sizes=Counter(sizes),
        broken=broken,
    )


@dataclass(frozen=True)
class Duplicates:
    """Images that are there more than once."""

    images: int  # that repeat an earlier one byte for byte
    under_another_identity: int
    listed: list[str]


def check(path: Path, process_count: int, say: Say) -> None:
    """Says what is there, and raises where anything is broken."""
    target = open_target(path)
    parts = divided(
        target,
        look,
        target.tasks,
        what="checking",
        total=target.records,
        process_count=process_count,
    )
    found = together(parts, target.broken)
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
    """Returns the results of the tasks, in their order."""

    def done_by_one(task: Any, report: Report) -> Any:
        return work(target, task, report)

    worth_it = total // RECORDS_WORTH_A_PROCESS
    count = max(min(process_count or processes.cores(), worth_it), 1)
    with progress.bar(what, total) as bar:
        done = dict(processes.run(done_by_one, tasks, count, bar.update))
    return [done[number] for number in range(len(tasks))]


def together(parts: list[Found], broken: list[str]) -> Found:
    """Returns all that was found, after what was broken before anything was looked at."""
    sizes: Counter[tuple[int, int]] = Counter()
    broken = list(broken)
    for part in parts:
        sizes += part.sizes
        broken += part.broken
    return Found(
        places=joined([part.places for part in parts]),
        labels=joined([part.labels for part in parts]),
        likeness=joined([part.likeness for part in parts]),
        sizes=sizes,
        broken=broken,
    )


def joined(columns: list[np.ndarray]) -> np.ndarray:
    """Returns the columns of all parts as one."""
    nothing = np.empty(0, np.int64)
    return np.concatenate([nothing, *columns])


def duplicates(target: Target, found: Found, process_count: int) -> Duplicates:
    """Compares those images by their sha256 whose length and end are the same."""
    _, group, images = np.unique(found.likeness, return_inverse=True, return_counts=True)
    alike = np.flatnonzero(images[group] > 1)
    task_count = max(len(alike) // RECORDS_WORTH_A_PROCESS, 1)
    tasks = np.array_split(found.places[alike], task_count)
    hashes = divided(
        target,
        hashed,
        tasks,
        what="comparing",
        total=len(alike),
        process_count=process_count,
    )
    # Of equal hashes the first stands for the original, and the others repeat it.
    _, first, group = np.unique(np.concatenate(hashes), return_index=True, return_inverse=True)
    first_of_each = first[group]
    repeats = np.flatnonzero(first_of_each != np.arange(len(alike)))
    rows = alike[repeats]
    originals = alike[first_of_each[repeats]]
    listed = []
    for row, original in zip(rows[:LISTED_DUPLICATES], originals, strict=False):
        repeat_name = name_of(target, found, row)
        original_name = name_of(target, found, original)
        listed.append(f"{repeat_name} = {original_name}")
    under_another = np.sum(found.labels[rows] != found.labels[originals])
    return Duplicates(
        images=len(rows),
        under_another_identity=int(under_another),
        listed=listed,
    )


def hashed(target: Target, places: np.ndarray, report: Report) -> np.ndarray:
    """Returns the first 8 bytes of each image's sha256, as numbers."""
    starts = []
    for place in places.tolist():
        _, image = target.read(place)
        digest = hashlib.sha256(image).digest()
        starts.append(digest[:8])
    report(len(places))
    return np.frombuffer(b"".join(starts), np.int64)


def name_of(target: Target, found: Found, row: int) -> str:
    """Returns what an image is called, and whose it is."""
    place = int(found.places[row])
    name, _ = target.read(place)
    return f"{name} of identity {found.labels[row]}"


def report(target: Target, found: Found, repeated: Duplicates) -> list[str]:
    """Returns the lines that tell what is there."""
    images = np.bincount(found.labels)
    images = images[images > 0]
    whole = f"{len(found.labels):,} whole images of {len(images):,} identities"
    lines = [f"{target.title}, {whole}"]
    if len(images):
        lines.append(images_per_identity(images))
    lines.append(f"sizes: {sizes_of(found)}")
    lines.append(
        f"duplicates: {repeated.images:,} images repeat an earlier one byte for byte, "
        f"{repeated.under_another_identity:,} of them under another identity"
    )
    for text in repeated.listed:
        lines.append(f"  {text}")
    lines.append(
        f"broken: {len(found.broken):,} (records, headers and ends were looked at, no pixels "
        "decoded)"
    )
    for text in found.broken[:LISTED_BROKEN]:
        lines.append(f"  {text}")
    return lines


def images_per_identity(images: np.ndarray) -> str:
    """Returns a line on how many images the identities have."""
    once = int(np.sum(images == 1))
    return (
        f"images per identity: {images.min()} to {images.max()}, {images.mean():.1f} on average; "
        f"{once:,} identities have one image"
    )


def sizes_of(found: Found) -> str:
    """Returns the most frequent sizes of images, with how many have each."""
    texts = []
    for (width, height), count in found.sizes.most_common(LISTED_SIZES):
        texts.append(f"{width} x {height}: {count:,}")
    others = len(found.sizes) - LISTED_SIZES
    if others > 0:
        texts.append(f"{others} other sizes")
    return ", ".join(texts) or "none"
