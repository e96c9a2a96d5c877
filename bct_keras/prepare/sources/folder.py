"""A folder of images with one sub-folder per identity."""

import itertools
import os
from pathlib import Path

import numpy as np

from bct_keras.artefacts import fingerprint
from bct_keras.errors import BadImageError, InputError
from bct_keras.prepare.sources.source import Record, Source
from bct_keras.untrusted.reading import LARGEST_IMAGE, read_bytes

SUFFIXES = (".jpg", ".jpeg", ".png")


class Folder(Source):
    """Identities and their images in the order of their names.

    `group` is a text: identities whose names agree up to it (`Greek__omega`, `Greek__alpha`, with
    group `__`) are never divided between training and test.
    """

    def __init__(self, path: str, image_size: int = 112, group: str = ""):
        if image_size < 16:
            raise InputError(f"image_size={image_size}: at least 16 pixels are needed")
        self.root = Path(path)
        self.image_size = image_size
        if not self.root.is_dir():
            raise InputError(f"{path}: no such folder")
        found = {
            entry: sorted(entry.iterdir()) if entry.is_dir() else [entry]
            for entry in sorted(self.root.iterdir())
        }
        in_folders = {
            entry.name: list(filter(is_image, files))
            for entry, files in found.items()
            if entry.is_dir()
        }
        by_identity = {name: files for name, files in in_folders.items() if files}
        if len(by_identity) < 2:
            raise InputError(
                f"{path}: {len(by_identity)} identities with images found, at least 2 are needed "
                f"(one sub-folder per identity, holding {', '.join(SUFFIXES)})"
            )
        self.identities = list(by_identity)
        self.groups = [name.split(group)[0] for name in self.identities] if group else None
        self.files = [file for files in by_identity.values() for file in files]
        known = set(self.files)
        self.passed_over = [
            printable(file)
            for file in itertools.chain(*found.values())
            if file not in known and not file.name.startswith(".")
        ]
        self.labels = np.repeat(
            np.arange(len(by_identity)), [len(files) for files in by_identity.values()]
        )

    def read(self, position: int) -> Record:
        file = self.files[position]
        ident = file.relative_to(self.root)
        if printable(ident) != str(ident):
            raise BadImageError(f"{printable(ident)}: the name is not UTF-8; rename it")
        return Record(read_bytes(file, LARGEST_IMAGE, BadImageError), ident.as_posix())

    def fingerprint(self) -> str:
        def state(file: Path):
            found = file.stat()
            return [file.relative_to(self.root).as_posix(), found.st_size, found.st_mtime_ns]

        return fingerprint([state(file) for file in self.files])


def printable(path: Path) -> str:
    """With bytes that are not UTF-8 as text like \\xff: as Python keeps them they can be neither
    stored nor printed.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and file.is_file()
