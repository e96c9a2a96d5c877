"""InsightFace's training sets, such as MS1Mv3: a folder with train.rec, train.idx and property."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import stores
from bct_keras.artefacts import fingerprint
from bct_keras.data import image_header
from bct_keras.data.recordio.images import find_images
from bct_keras.data.recordio.reading import RecordFile
from bct_keras.errors import InputError
from bct_keras.prepare.sources.source import Record, Source
from bct_keras.untrusted.reading import opened

PROPERTY = re.compile(r"\s*(?P<classes>\d+)\s*,\s*(?P<height>\d+)\s*,\s*(?P<width>\d+)\s*")


class RecordIO(Source):
    """Images in the order of their keys, identities in that of their labels.

    In InsightFace's files both are the order of the file. Record 0 may be a header (a, b): the
    images are then the keys 1 to a - 1, and the records a to b - 1 hold each identity's range of
    keys. Opening reads those and one image of each identity, and `read` holds every record against
    what they said. Where they are missing or do not fit together, opening reads the labels of all
    records; where there is no index, it goes through the file. `image_size=0` is the size that the
    file `property` or the first image says. With `decode`, `prepare` finds images whose headers are
    whole and whose pixels are not, which takes much longer.
    """

    def __init__(self, path: str, image_size: int = 0, decode: bool = False):
        self.decode_to_check = decode
        if stores.is_remote(path):
            raise InputError(
                f"{path}: pieces of a RecordIO file are read in random order, from a disk; copy "
                "the folder to this machine and name that"
            )
        self.file = RecordFile(record_path(Path(path)))
        images = find_images(self.file, self.file.path.with_suffix(".idx"))
        self.places = images.places
        self.broken = images.broken
        labels, self.labels = np.unique(images.labels, return_inverse=True)
        self.identities = [str(label) for label in labels.tolist()]
        self._labels_in_file = labels
        self._name = self.file.path.name
        self.image_size = image_size
        if not self.image_size:
            by_property = size_by_property(self.file.path.parent)
            self.image_size = by_property or self.size_of_first_image()

    def read(self, position: int) -> Record:
        """Returns the image at this position; raises where it is not of the identity expected."""
        start, end = self.places.span(position)
        payload = self.file.read(start, end)
        head = self.file.parsed(payload, len(payload), start)
        label = head.labels[0]
        expected = self._labels_in_file.item(self.labels.item(position))
        if label != expected:
            reason = f"its label is {label} and its identity's range record says {expected}"
            raise self.file.bad(start, reason)
        key = self.places.keys.item(position)
        return Record(image=payload[head.image_starts :], id=f"{self._name}/{key}")

    def fingerprint(self) -> str:
        """Returns the name of what is there: each file's size and time of change."""
        records = self.file.path
        states: list[Any] = []
        for file in (records, records.with_suffix(".idx"), records.with_name("property")):
            if file.is_file():
                state = file.stat()
                states.append([file.name, state.st_size, state.st_mtime_ns])
        return fingerprint([*states, self.image_size])

    def size_of_first_image(self) -> int:
        """Returns the side of the first image, which has to be a square."""
        record = self.read(0)
        size = image_header.size_of(record.image, record.id)
        where = f"{self.file.path}, whose first image"
        return square(size.width, size.height, where)


def record_path(folder: Path) -> Path:
    """Returns the .rec file of a folder, which has one or a train.rec."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder (one with a .rec file was expected)")
    files = sorted(folder.glob("*.rec"))
    for file in files:
        if file.name == "train.rec":
            return file
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise InputError(f"{folder}: one .rec file, or train.rec, is needed; found: {found}")
    return files[0]


def size_by_property(folder: Path) -> int | None:
    """Returns the size that the file `property` says; None without that file."""
    path = folder / "property"
    if not path.is_file():
        return None
    with opened(path) as file:
        text = file.read(100).decode("ascii", "replace")
    match = PROPERTY.fullmatch(text)
    if match is None:
        raise InputError(f"{path} is not of the form classes,height,width; mend it or remove it")
    width = int(match["width"])
    height = int(match["height"])
    return square(width, height, str(path))


def square(width: int, height: int, where: str) -> int:
    """Returns the side of a square; raises where it is none or of no use."""
    if width != height or not 16 <= width <= 4096:
        raise InputError(
            f"{where} says {width} x {height} pixels; give a square size, as in recordio(DIR, "
            "image_size=112)"
        )
    return width
