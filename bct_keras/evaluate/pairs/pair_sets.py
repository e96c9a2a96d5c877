"""Verification sets: pairs of images that do or do not show the same identity."""

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
    source: Path
    images: Sequence[bytes]
    names: Sequence[str]  # [images] where each came from
    pairs: np.ndarray  # [pairs, 2] numbers of images
    same: np.ndarray  # [pairs] bool
    folds: int
    fingerprint: str

    def __post_init__(self) -> None:
        genuine = int(self.same.sum())
        if len(self.same) < self.folds or genuine in (0, len(self.same)):
            raise InputError(
                f"{self.source}: {genuine} pairs of one identity and {len(self.same) - genuine} of"
                f" two; both are needed, and a pair for each of {self.folds} folds"
            )


def read_bin(path: Path) -> PairSet:
    """InsightFace's .bin: a pickle of (2n encoded images, n booleans)."""
    value = safe_pickle.load(path)
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise InputError(f"{path} does not hold a list of images and one of booleans")
    images, same = (
        list(plain(part)) if isinstance(plain(part), list | tuple | bytes | bytearray) else []
        for part in value
    )
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
    return value.content if isinstance(value, safe_pickle.ByteArray) else value


def as_bytes(images: list[Any]) -> list[Any]:
    """One copy of each byte array, however often it stands there: a small file could name it a
    million times.
    """
    copies = {id(image): bytes(image) for image in images if isinstance(image, bytearray)}
    return [copies.get(id(image), image) for image in images]


def read_lfw(path: Path, images: Path) -> PairSet:
    """LFW's pairs.txt: `folds pairs`; in each fold so many lines `name a b`, then as many `name a
    other b`.
    """
    folds, expected = lfw_header(path)
    lines = read_bytes(path).decode("utf-8", "replace").splitlines()[1:]
    if len(lines) != 2 * folds * expected:
        raise InputError(
            f"{path}: {len(lines)} pairs, and its first line says {folds} times 2 times {expected}"
        )
    numbers: dict[Path, int] = {}
    pairs, same = np.empty((len(lines), 2), np.int64), np.empty(len(lines), bool)
    for row, line in enumerate(lines):
        same[row] = row // expected % 2 == 0
        for side, (name, number) in enumerate(
            lfw_pair(line, bool(same[row]), f"{path}, line {row + 2}")
        ):
            file = image_file(images / name, f"{name}_{number:04d}", f"{path}, line {row + 2}")
            pairs[row, side] = numbers.setdefault(file, len(numbers))
    contents = [read_bytes(file, LARGEST_IMAGE) for file in numbers]
    described = [artefacts.file_sha256(path), *map(artefacts.file_sha256, numbers)]
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
    with opened(path) as file:
        first = file.readline(100).decode("ascii", "replace").split()
    if len(first) != 2 or not all(
        field.isdigit() and 0 < int(field) < 1_000_000 for field in first
    ):
        raise InputError(
            f"{path}, line 1: the number of folds and of pairs was expected, as in '10 300'"
        )
    return int(first[0]), int(first[1])


def lfw_pair(line: str, same: bool, where: str) -> list[tuple[str, int]]:
    fields = line.split()
    if len(fields) != (3 if same else 4):
        raise InputError(
            f"{where}: {'name a b' if same else 'name a other b'} was expected, not {line[:80]!r}"
        )
    if same:
        fields.insert(2, fields[0])
    for name, number in (fields[:2], fields[2:]):
        if not NAME.fullmatch(name) or not number.isdigit() or len(number) > 9:
            raise InputError(
                f"{where}: {name[:80]!r} with image {number[:20]!r} is no name and number"
            )
    return [(fields[0], int(fields[1])), (fields[2], int(fields[3]))]


def image_file(folder: Path, name: str, where: str) -> Path:
    for suffix in SUFFIXES:
        if os.path.isfile(folder / (name + suffix)):  # Path's own fails on a name that is too long
            return folder / (name + suffix)
    raise InputError(f"{where}: there is no image {folder / name}{SUFFIXES[0]}")
