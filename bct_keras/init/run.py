"""Copies configs/ and export/ out of the package, and overwrites nothing."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bct_keras import shipped, stores
from bct_keras.errors import InputError


@dataclass(frozen=True)
class Copied:
    """What a folder has now.

    Attributes:
        folder: Where the files are.
        written: How many were not there before.
        kept: How many were there already, with the same content.
    """

    folder: Path
    written: int
    kept: int

    def __str__(self) -> str:
        text = f"{self.folder}: {self.written} files of {' and '.join(shipped.FOLDERS)}"
        return f"{text}, and {self.kept} that were there already" if self.kept else text


def init(folder: Path) -> Copied:
    """Copies all files into a folder, which may have them already; returns what it has now."""
    if stores.is_remote(folder):
        raise InputError(f"{folder}: these files go into a folder of this machine; give one of it")
    missing = {}
    kept = 0
    for source, name in files():
        target = folder / name
        if not os.path.lexists(target):  # a link to nowhere would be written through
            missing[source] = target
        elif target.is_file() and target.read_bytes() == source.read_bytes():
            kept += 1
        else:
            raise InputError(
                f"{target} is there, and it is another file; nothing was written",
                "Give another folder, or move that file away",
            )
    for source, target in missing.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        with stores.aside(target) as partial:  # or a half file would be in the way the next time
            shutil.copyfile(source, partial)
    return Copied(folder, len(missing), kept)


def files() -> Iterator[tuple[Path, Path]]:
    """Yields each file, and its path below the folder that it goes into."""
    for name in shipped.FOLDERS:
        place = shipped.place(name)
        for path in sorted(place.rglob("*")):
            below = path.relative_to(place)
            if path.is_file() and not shipped.LEFT_OUT & set(below.parts):
                yield path, Path(name) / below
