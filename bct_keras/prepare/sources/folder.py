"""A folder of images with one sub-folder per identity."""

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

    has_names = True

    def __init__(self, path: str, image_size: int = 112, group: str = ""):
        if image_size < 16:
            raise InputError(f"image_size={image_size}: at least 16 pixels are needed")
        self.root = Path(path)
        self.image_size = image_size
        if not self.root.is_dir():
            raise InputError(f"{path}: no such folder")
        self.identities = []
        self.files: list[Path] = []
        self.passed_over: list[str] = []
        images: list[int] = []  # of each identity
        for entry in sorted(self.root.iterdir()):
            if not entry.is_dir():
                self.pass_over(entry)
                continue
            found = 0
            for file in sorted(entry.iterdir()):
                if is_image(file):
                    self.files.append(file)
                    found += 1
                else:
                    self.pass_over(file)
            if found:
                self.identities.append(entry.name)
                images.append(found)
        identities = len(self.identities)
        if identities < 2:
            raise InputError(
                f"{path}: {identities} identities with images found, at least 2 are needed "
                f"(one sub-folder per identity, holding {', '.join(SUFFIXES)})"
            )
        self.groups = None
        if group:
            self.groups = [name.split(group)[0] for name in self.identities]
        self.labels = np.repeat(np.arange(identities), images)

    def pass_over(self, file: Path) -> None:
        """Notes a file that is no image, unless it is a hidden one."""
        if not file.name.startswith("."):
            self.passed_over.append(printable(file))

    def read(self, position: int) -> Record:
        """Returns the image at this position, named by its path within the folder."""
        file = self.files[position]
        ident = file.relative_to(self.root)
        if printable(ident) != str(ident):
            raise BadImageError(f"{printable(ident)}: the name is not UTF-8; rename it")
        image = read_bytes(file, LARGEST_IMAGE, BadImageError)
        return Record(image=image, id=ident.as_posix())

    def fingerprint(self) -> str:
        """Returns the name of what is there: each file's path, size and time of change."""
        states = []
        for file in self.files:
            found = file.stat()
            place = file.relative_to(self.root).as_posix()
            states.append([place, found.st_size, found.st_mtime_ns])
        return fingerprint(states)


def printable(path: Path) -> str:
    """Returns the path with bytes that are not UTF-8 as text like \\xff.

    As Python keeps such bytes they can be neither stored nor printed.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_image(file: Path) -> bool:
    """Tells whether a file has the name of an image that can be read."""
    has_suffix = file.suffix.lower() in SUFFIXES
    return has_suffix and file.is_file()
