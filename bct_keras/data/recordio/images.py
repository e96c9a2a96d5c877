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
    """The images of a file: where each lies, and of whom it is."""

    places: Places
    labels: np.ndarray  # [images] int64, as they stand in the file
    broken: list[str]  # what else is there and cannot be read


@dataclass(frozen=True)
class Bounds:
    """The two labels of a header or range record: a first number, and the one beyond the last."""

    first: int
    beyond: int


@dataclass(frozen=True)
class HeadAt:
    """What a record says before its image, and where the record lies."""

    key: int
    start: int
    end: int
    head: Head | BadImageError  # an error for one that cannot be read


def find_images(file: RecordFile, index: Path) -> Images:
    """Finds the images by the index, or by going through the file where there is none."""
    if index.is_file():
        images = indexed_images(file, index)
    else:
        images = collected(scanned_heads(file), file)
    if not len(images.labels):
        raise InputError(f"{file.path}: no image with a label was found", *images.broken[:1])
    return images


def indexed_images(file: RecordFile, index: Path) -> Images:
    """Finds the images by the range records, or by the labels of all records where those fail."""
    places = places_by_index(index, file.size)
    try:
        found = images_by_ranges(file, places)
    # a damaged record, or a range of NaN or infinity
    except (BadImageError, ValueError, OverflowError):
        found = None
    return found or collected(indexed_heads(file, places), file)


def images_by_ranges(file: RecordFile, places: Places) -> Images | None:
    """Returns the images that the header and the range records tell of.

    Returns None where these do not account for every record.
    """
    records = len(places.keys)
    header = header_bounds(file.head(*places.span(0)))
    if header is None or header.beyond != records or records > LARGEST_EXACT:
        return None
    if places.keys[-1] != records - 1:
        return None
    # The images are the keys 1 to `first` - 1, and the range records those from `first` on.
    labels = np.full(header.first, -1, np.int64)
    ranges = range(header.first, header.beyond)
    for key in progress.track(ranges, "reading identities", len(ranges), "identities"):
        head = file.head(*places.span(key))
        if head.has_image or len(head.labels) < 2:
            return None
        first = int(head.labels[0])
        beyond = int(head.labels[1])
        if not 1 <= first <= beyond <= header.first:
            return None
        if np.any(labels[first:beyond] >= 0):
            return None
        if first < beyond:
            start, end = places.span(first)
            labels[first:beyond] = identity_label(file.head(start, end), start, file)
    if np.any(labels[1:] < 0):
        return None
    images = slice(1, header.first)
    found = Places(places.keys[images], places.starts[images], places.ends[images])
    return Images(places=found, labels=labels[1:], broken=[])


def header_bounds(head: Head) -> Bounds | None:
    """Returns what a header or range record says, which has two labels and no image."""
    if head.has_image or len(head.labels) < 2:
        return None
    if not np.all(np.isfinite(head.labels)):
        return None
    first = int(head.labels[0])
    beyond = int(head.labels[1])
    if not 1 <= first <= beyond:
        return None
    return Bounds(first, beyond)


def identity_label(head: Head, start: int, file: RecordFile) -> int:
    """Returns the identity that a record names; raises where that is no whole number."""
    label = head.labels[0]
    in_range = 0 <= label < 1 << 62
    if not in_range or label != int(label):
        raise file.bad(start, f"its label {label} is not the number of an identity")
    return int(label)


def indexed_heads(file: RecordFile, places: Places) -> Iterator[HeadAt]:
    """Yields what each record of the index says before its image."""
    records = len(places.keys)
    for row in progress.track(range(records), "reading labels", records, "records"):
        start, end = places.span(row)
        head = head_or_error(file, start, end)
        yield HeadAt(key=places.keys.item(row), start=start, end=end, head=head)


def scanned_heads(file: RecordFile) -> Iterator[HeadAt]:
    """Yields the same by going through the file; keys are numbers in file order."""
    for key, found in enumerate(file.scan()):
        if isinstance(found, BadImageError):
            yield HeadAt(key=key, start=0, end=0, head=found)
        else:
            start, end, content = found
            head = head_or_error(file, start, end, content)
            yield HeadAt(key=key, start=start, end=end, head=head)


def head_or_error(
    file: RecordFile, start: int, end: int, content: bytes = b""
) -> Head | BadImageError:
    """Returns what the record says before its image, or the error of one that cannot be used."""
    try:
        head = file.head(start, end, content)
        if head.has_image:
            identity_label(head, start, file)
        return head
    except BadImageError as bad:
        return bad


def collected(heads: Iterable[HeadAt], file: RecordFile) -> Images:
    """Returns the images among the records, and what is broken."""
    keys = array("q")
    starts = array("q")
    ends = array("q")
    labels = array("q")
    broken: list[str] = []
    expected = None
    has_ranges = False
    for number, found in enumerate(heads):
        head = found.head
        if isinstance(head, BadImageError):
            broken.append(str(head))
            has_ranges = has_ranges or number == 0  # it may have been a header
        elif head.has_image:
            keys.append(found.key)
            starts.append(found.start)
            ends.append(found.end)
            labels.append(int(head.labels[0]))
        else:
            if number == 0:
                has_ranges = True  # as there is a header
                expected = images_expected(head)
            if not has_ranges or header_bounds(head) is None:
                broken.append(str(file.bad(found.start, "it has no image")))
    missing = 0 if expected is None else expected - len(labels)
    if missing < 0 or missing > len(broken):
        broken.append(
            f"{file.path}: its header record counts {expected} images, and {len(labels)} were found"
        )
    places = Places(np.array(keys), np.array(starts), np.array(ends))
    return Images(places=places, labels=np.array(labels), broken=broken)


def images_expected(header: Head) -> int | None:
    """Returns how many images a header counts; None where it cannot be told."""
    bounds = header_bounds(header)
    if bounds is None or bounds.first > LARGEST_EXACT:
        return None
    return bounds.first - 1
