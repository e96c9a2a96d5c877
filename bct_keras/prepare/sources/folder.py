"""A folder of images with one sub-folder per identity."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from bct_keras import stores
from bct_keras.artefacts import fingerprint
from bct_keras.errors import BadImageError, InputError
from bct_keras.prepare.sources.source import Record, Source
from bct_keras.untrusted.reading import LARGEST_IMAGE, read_bytes

SUFFIXES = (".jpg", ".jpeg", ".png")


class Folder(Source):
    """Identities and their images in the order of their names.

    `group` is a text: identities whose names agree up to it (`Greek__omega`, `Greek__alpha`, with
    group `__`) are never divided between training and test. The folder may be one of an object
    store, all of whose keys are listed by each process that opens it.
    """

    has_names = True

    def __init__(self, path: str, image_size: int = 112, group: str = ""):
        if image_size < 16:
            raise InputError(f"image_size={image_size}: at least 16 pixels are needed")
        self.root = stores.place(path)
        self.image_size = image_size
        self.passed_over: list[str] = []
        self.names: list[str] = []  # of the images, from the folder
        self.identities = []
        images: list[int] = []  # of each identity
        found = self.look_into_store() if stores.is_remote(self.root) else self.look_here()
        for identity, files in found:
            self.identities.append(identity)
            images.append(len(files))
            self.names += [f"{identity}/{file}" for file in files]
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

    def look_here(self) -> Iterator[tuple[str, list[str]]]:
        """Yields the name of each identity, and those of its images."""
        if not self.root.is_dir():
            raise InputError(f"{self.root}: no such folder")
        for entry in sorted(self.root.iterdir()):
            if not entry.is_dir():
                self.pass_over(entry)
                continue
            files = []
            for file in sorted(entry.iterdir()):
                if has_suffix(file.name) and file.is_file():
                    files.append(file.name)
                else:
                    self.pass_over(file)
            if files:
                yield entry.name, files

    def look_into_store(self) -> Iterator[tuple[str, list[str]]]:
        """Yields the name of each identity, and those of its images, after one listing."""
        self.states = stores.states_in(self.root)
        of_identities: dict[str, list[str]] = {}
        others = set()
        for name in self.states:
            identity, _, file = name.partition("/")
            if "/" in file:  # a folder in that of the identity
                others.add(f"{identity}/{file.partition('/')[0]}")
            elif has_suffix(file):
                of_identities.setdefault(identity, []).append(file)
            else:
                others.add(name)
        for name in sorted(others):
            self.pass_over(self.root / name)
        for identity in sorted(of_identities):
            yield identity, sorted(of_identities[identity])

    def pass_over(self, file: Path) -> None:
        """Notes a file that is no image, unless it is a hidden one."""
        if not file.name.startswith("."):
            self.passed_over.append(printable(file))

    def read(self, position: int) -> Record:
        """Returns the image at this position, named by its path within the folder."""
        name = self.names[position]
        if printable(name) != name:
            raise BadImageError(f"{printable(name)}: the name is not UTF-8; rename it")
        image = read_bytes(self.root / name, LARGEST_IMAGE, BadImageError)
        return Record(image=image, id=name)

    def read_several(self, positions: Sequence[int]) -> Iterator[Record | BadImageError]:
        """Yields the record at each position; a store is asked for many at once."""
        return stores.mapped(self.root, self.read_or_error, positions)

    def fingerprint(self) -> str:
        """Returns the name of what is there.

        That is each file's path, size and time of change; of a store, its own mark of the content.
        """
        states: list[list[str | int]] = []
        for name in self.names:
            if stores.is_remote(self.root):
                state = self.states[name]
                states.append([name, state.size, state.mark])
            else:
                found = (self.root / name).stat()
                states.append([name, found.st_size, found.st_mtime_ns])
        return fingerprint(states)


def printable(path: str | Path) -> str:
    """Returns the path with bytes that are not UTF-8 as text like \\xff.

    As Python keeps such bytes they can be neither stored nor printed.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def has_suffix(name: str) -> bool:
    """Tells whether a file has the name of an image that can be read."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES
