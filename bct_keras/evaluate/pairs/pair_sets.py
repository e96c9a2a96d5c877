"""Reads verification sets: pairs of images that do or do not show the same identity."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import artefacts
from bct_keras.errors import InputError
from bct_keras.evaluate.pairs import safe_pickle
from bct_keras.untrusted.reading import LARGEST_IMAGE, opened, read_bytes

FOLDS = 10  # of LFW and of the sets that InsightFace packs
NAME = re.compile(r"[A-Za-z0-9_'-][A-Za-z0-9_.'-]*")
SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class PairSet:
    """Holds a verification set."""

    source: Path
    images: Sequence[bytes]
    names: Sequence[str]  # [images] where each came from
    pairs: np.ndarray  # [pairs, 2] numbers of images
    same: np.ndarray  # [pairs] bool
    folds: int
    fingerprint: str

    def __post_init__(self) -> None:
        genuine = int(self.same.sum())
        impostors = len(self.same) - genuine
        if not (genuine and impostors) or len(self.same) < self.folds:
            raise InputError(
                f"{self.source}: {genuine} pairs of one identity and {impostors} of two; both are "
                f"needed, and a pair for each of {self.folds} folds"
            )


def read_bin(path: Path) -> PairSet:
    """Reads InsightFace's .bin: a pickle of (2n encoded images, n booleans)."""
    value = safe_pickle.load(path)
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise InputError(f"{path} does not hold a list of images and one of booleans")
    images, same = (as_list(part) for part in value)
    images = as_bytes([plain(image) for image in images])
    if len(images) != 2 * len(same):
        raise InputError(
            f"{path}: {len(images)} images and {len(same)} booleans; two images a pair are needed"
        )
    for number, image in enumerate(images):
        if not isinstance(image, bytes):
            raise InputError(
                f"{path}, image {number}: bytes were expected, not {type(image).__name__}"
            )
    for number, value in enumerate(same):
        if value not in (0, 1):
            raise InputError(
                f"{path}, pair {number}: True or False was expected, not {str(value)[:40]!r}"
            )
    return PairSet(
        source=path,
        images=images,
        names=[f"{path}, image {number}" for number in range(len(images))],
        pairs=np.arange(len(images)).reshape(-1, 2),
        same=np.array(same, bool),
        folds=FOLDS,
        fingerprint=artefacts.file_sha256(path),
    )


def plain(value: Any) -> Any:
    """Returns the content of a byte array, and anything else as it is."""
    if isinstance(value, safe_pickle.ByteArray):
        return value.content
    return value


def as_list(part: Any) -> list[Any]:
    """Returns what a part of the pickle holds, and nothing where it is no list."""
    content = plain(part)
    if isinstance(content, list | tuple | bytes | bytearray):
        return list(content)
    return []


def as_bytes(images: list[Any]) -> list[Any]:
    """Returns the images, byte arrays as bytes.

    Each array is copied once, however often it stands there: a small file could name it a million
    times.
    """
    copies = {}
    for image in images:
        if isinstance(image, bytearray) and id(image) not in copies:
            copies[id(image)] = bytes(image)
    return [copies.get(id(image), image) for image in images]


def read_lfw(path: Path, images: Path) -> PairSet:
    """Reads LFW's pairs.txt, and the images that it names.

    Its first line is `folds pairs`. In each fold so many lines `name a b` follow, two images of one
    person, and then as many `name a other b`, images of two.
    """
    folds, expected = lfw_header(path)
    lines = read_bytes(path).decode("utf-8", "replace").splitlines()[1:]
    if len(lines) != 2 * folds * expected:
        raise InputError(
            f"{path}: {len(lines)} pairs, and its first line says {folds} times 2 times {expected}"
        )
    numbers: dict[Path, int] = {}
    pairs = np.empty((len(lines), 2), np.int64)
    same = np.empty(len(lines), bool)
    for row, line in enumerate(lines):
        where = f"{path}, line {row + 2}"
        same[row] = row // expected % 2 == 0
        for side, (name, number) in enumerate(lfw_pair(line, bool(same[row]), where)):
            file = image_file(images / name, f"{name}_{number:04d}", where)
            pairs[row, side] = numbers.setdefault(file, len(numbers))
    contents, described = [], [artefacts.file_sha256(path)]
    for file in numbers:
        contents.append(read_bytes(file, LARGEST_IMAGE))
        described.append(artefacts.file_sha256(file))
    return PairSet(
        source=path,
        images=contents,
        names=[str(file) for file in numbers],
        pairs=pairs,
        same=same,
        folds=folds,
        fingerprint=artefacts.fingerprint(described),
    )


def lfw_header(path: Path) -> tuple[int, int]:
    """Reads the number of folds, and of pairs of each kind in a fold."""
    with opened(path) as file:
        line = file.readline(100).decode("ascii", "replace")
    first = line.split()
    good = [field for field in first if field.isdigit() and 0 < int(field) < 1_000_000]
    if len(first) != 2 or len(good) != 2:
        raise InputError(
            f"{path}, line 1: the number of folds and of pairs was expected, as in '10 300'"
        )
    return int(first[0]), int(first[1])


def lfw_pair(line: str, same: bool, where: str) -> list[tuple[str, int]]:
    """Reads the name and the number of both images of a pair.

    Args:
        line: The line.
        same: Whether it has to be a pair of one person.
        where: Names the line in an error.
    """
    fields = line.split()
    form = "name a b" if same else "name a other b"
    if len(fields) != len(form.split()):
        raise InputError(f"{where}: {form} was expected, not {line[:80]!r}")
    if same:
        fields.insert(2, fields[0])
    found = []
    for name, number in (fields[:2], fields[2:]):
        if not NAME.fullmatch(name) or not number.isdigit() or len(number) > 9:
            raise InputError(
                f"{where}: {name[:80]!r} with image {number[:20]!r} is no name and number"
            )
        found.append((name, int(number)))
    return found


def image_file(folder: Path, name: str, where: str) -> Path:
    """Returns the file of an image, which may have one of several suffixes."""
    for suffix in SUFFIXES:
        path = folder / f"{name}{suffix}"
        if os.path.isfile(path):  # Path's own fails on a name that is too long
            return path
    raise InputError(f"{where}: there is no image {folder / name}{SUFFIXES[0]}")
