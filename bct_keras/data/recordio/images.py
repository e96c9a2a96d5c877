"""Which records of a RecordIO file are images, and of whom."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bct_keras import progress
from bct_keras.data.recordio.index import Places, places_by_index
from bct_keras.data.recordio.reading import Head, RecordFile
from bct_keras.errors import BadImageError, InputError

LARGEST_EXACT = 1 << 24  # of the whole numbers that a float32 label holds


@dataclass(frozen=True)
class Images:
    places: Places
    labels: np.ndarray  # [images] int64, as they stand in the file
    broken: list[str]  # what else is there and cannot be read


def find_images(file: RecordFile, index: Path) -> Images:
    images = (
        indexed_images(file, index) if index.is_file() else collected(scanned_heads(file), file)
    )
    if not len(images.labels):
        raise InputError(f"{file.path}: no image with a label was found", *images.broken[:1])
    return images


def indexed_images(file: RecordFile, index: Path) -> Images:
    places = places_by_index(index, file.size)
    try:
        found = images_by_ranges(file, places)
    except (
        BadImageError,
        ValueError,
        OverflowError,
    ):  # a damaged record, or a range of NaN or infinity
        found = None
    return found or collected(indexed_heads(file, places), file)


def images_by_ranges(file: RecordFile, places: Places) -> Images | None:
    """None where the header and the range records do not account for every record."""
    bounds = header_bounds(file.head(*places.span(0)))
    records = len(places.keys)
    if (
        bounds is None
        or bounds[1] != records
        or records > LARGEST_EXACT
        or places.keys[-1] != records - 1
    ):
        return None
    labels = np.full(bounds[0], -1, np.int64)
    for key in progress.track(
        range(*bounds), "reading identities", bounds[1] - bounds[0], "identities"
    ):
        head = file.head(*places.span(key))
        if head.has_image or len(head.labels) < 2:
            return None
        first, beyond = int(head.labels[0]), int(head.labels[1])
        if not 1 <= first <= beyond <= bounds[0] or np.any(labels[first:beyond] >= 0):
            return None
        if first < beyond:
            start, end = places.span(first)
            labels[first:beyond] = identity_label(file.head(start, end), start, file)
    if np.any(labels[1:] < 0):
        return None
    images = slice(1, bounds[0])
    return Images(
        Places(places.keys[images], places.starts[images], places.ends[images]), labels[1:], []
    )


def header_bounds(head: Head) -> tuple[int, int] | None:
    """(a, b) of a header or range record, which has two labels and no image."""
    if head.has_image or len(head.labels) < 2 or not np.all(np.isfinite(head.labels)):
        return None
    first, beyond = int(head.labels[0]), int(head.labels[1])
    return (first, beyond) if 1 <= first <= beyond else None


def identity_label(head: Head, start: int, file: RecordFile) -> int:
    label = head.labels[0]
    if not 0 <= label < 1 << 62 or label != int(label):
        raise file.bad(start, f"its label {label} is not the number of an identity")
    return int(label)


HeadAt = tuple[
    int, int, int, Head | BadImageError
]  # key, start, end; an error for one that cannot be read


def indexed_heads(file: RecordFile, places: Places) -> Iterator[HeadAt]:
    records = len(places.keys)
    for row in progress.track(range(records), "reading labels", records, "records"):
        start, end = places.span(row)
        yield places.keys.item(row), start, end, head_or_error(file, start, end)


def scanned_heads(file: RecordFile) -> Iterator[HeadAt]:
    for key, found in enumerate(file.scan()):
        if isinstance(found, BadImageError):
            yield key, 0, 0, found
        else:
            start, end, content = found
            yield key, start, end, head_or_error(file, start, end, content)


def head_or_error(
    file: RecordFile, start: int, end: int, content: bytes = b""
) -> Head | BadImageError:
    try:
        head = file.head(start, end, content)
        if head.has_image:
            identity_label(head, start, file)
        return head
    except BadImageError as bad:
        return bad


def collected(heads: Iterable[HeadAt], file: RecordFile) -> Images:
    columns = [array("q") for _ in ("keys", "starts", "ends", "labels")]
    broken: list[str] = []
    expected, has_ranges = None, False
    for number, (key, start, end, head) in enumerate(heads):
        if number == 0 and (isinstance(head, BadImageError) or not head.has_image):
            has_ranges = True  # a header, or what may have been one
            expected = None if isinstance(head, BadImageError) else images_expected(head)
        if isinstance(head, BadImageError):
            broken.append(str(head))
        elif head.has_image:
            for column, value in zip(columns, (key, start, end, int(head.labels[0])), strict=True):
                column.append(value)
        elif not (has_ranges and header_bounds(head)):
            broken.append(str(file.bad(start, "it has no image")))
    keys, starts, ends, labels = (np.array(column) for column in columns)
    missing = (len(labels) if expected is None else expected) - len(labels)
    if missing < 0 or missing > len(broken):
        broken.append(
            f"{file.path}: its header record counts {expected} images, and {len(labels)} were found"
        )
    return Images(Places(keys, starts, ends), labels, broken)


def images_expected(header: Head) -> int | None:
    bounds = header_bounds(header)
    return bounds[0] - 1 if bounds and bounds[0] <= LARGEST_EXACT else None
