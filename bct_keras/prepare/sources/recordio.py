"""InsightFace's training sets (MS1Mv3, Glint360K, ...): a folder with train.rec, train.idx and
property.
"""

import re
from pathlib import Path

import numpy as np

from bct_keras.artefacts import fingerprint
from bct_keras.data import image_header
from bct_keras.data.recordio.images import find_images
from bct_keras.data.recordio.reading import RecordFile
from bct_keras.errors import InputError
from bct_keras.prepare.sources.source import Record, Source
from bct_keras.untrusted.reading import opened

PROPERTY = re.compile(r"\s*(?P<classes>\d+)\s*,\s*(?P<height>\d+)\s*,\s*(?P<width>\d+)\s*")


class RecordIO(Source):
    """Images in the order of their keys, identities in that of their labels: file order in
    InsightFace's files.

    Record 0 may be a header (a, b): the images are then the keys 1 to a - 1, and the records a to b
    - 1 hold each identity's range of keys. Opening reads those and one image of each identity, and
    `read` holds every record against what they said. Where they are missing or do not fit together,
    opening reads the labels of all records; where there is no index, it goes through the file.
    `image_size=0` is the size that the file `property` or the first image says. With `decode`,
    `prepare` finds images whose headers are whole and whose pixels are not, which takes much
    longer.
    """

    def __init__(self, path: str, image_size: int = 0, decode: bool = False):
        self.decode_to_check = decode
        self.file = RecordFile(record_path(Path(path)))
        images = find_images(self.file, self.file.path.with_suffix(".idx"))
        self.places, self.broken = images.places, images.broken
        labels, self.labels = np.unique(images.labels, return_inverse=True)
        self.identities = [str(label) for label in labels.tolist()]
        self._labels_in_file, self._name = labels, self.file.path.name
        self.image_size = (
            image_size or size_by_property(self.file.path.parent) or self.size_of_first_image()
        )

    def read(self, position: int) -> Record:
        start, end = self.places.span(position)
        payload = self.file.read(start, end)
        head = self.file.parsed(payload, len(payload), start)
        expected = self._labels_in_file.item(self.labels.item(position))
        if head.labels[0] != expected:
            raise self.file.bad(
                start,
                f"its label is {head.labels[0]} and its identity's range record says {expected}",
            )
        return Record(
            payload[head.image_starts :], f"{self._name}/{self.places.keys.item(position)}"
        )

    def fingerprint(self) -> str:
        files = (
            self.file.path,
            self.file.path.with_suffix(".idx"),
            self.file.path.with_name("property"),
        )
        states = [(file.name, file.stat()) for file in files if file.is_file()]
        return fingerprint(
            [[name, state.st_size, state.st_mtime_ns] for name, state in states] + [self.image_size]
        )

    def size_of_first_image(self) -> int:
        record = self.read(0)
        size = image_header.size_of(record.image, record.id)
        return square(size.width, size.height, f"{self.file.path}, whose first image")


def record_path(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder (one with a .rec file was expected)")
    files = sorted(folder.glob("*.rec"))
    named = [file for file in files if file.name == "train.rec"] or files
    if len(named) != 1:
        found = ", ".join(file.name for file in named) or "none"
        raise InputError(f"{folder}: one .rec file, or train.rec, is needed; found: {found}")
    return named[0]


def size_by_property(folder: Path) -> int | None:
    path = folder / "property"
    if not path.is_file():
        return None
    with opened(path) as file:
        match = PROPERTY.fullmatch(file.read(100).decode("ascii", "replace"))
    if match is None:
        raise InputError(f"{path} is not of the form classes,height,width; mend it or remove it")
    return square(int(match["width"]), int(match["height"]), str(path))


def square(width: int, height: int, where: str) -> int:
    if width != height or not 16 <= width <= 4096:
        raise InputError(
            f"{where} says {width} x {height} pixels; give a square size, as in recordio(DIR,"
            " image_size=112)"
        )
    return width
