"""Files written beside their place and renamed into it."""

import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bct_keras import stores
from bct_keras.artefacts.locks import lock_folder


def write_atomically(path: Path, text: str) -> None:
    """Writes a file of text, of which others see the whole or nothing."""
    with replacing(path) as partial:
        partial.write_text(text)


def write_beside(path: Path, write: Callable[[Path], Any]) -> None:
    """Replaces a file by the one that `write` makes, beside its place and of the same name."""
    with replacing(path) as partial:
        write(partial)


@contextlib.contextmanager
def placing(path: Path) -> Iterator[Path]:
    """Yields a file to write, which is put at `path` when the block ends well.

    Several processes, on whatever machines, may put the same content there at the same time: each
    writes a file of its own beside it, or puts a whole one into a store. What a killed one leaves,
    `remove_unplaced` removes.
    """
    if stores.is_remote(path):
        with stores.uploading(path) as partial:
            yield partial
        return
    with stores.aside(path) as partial:
        yield partial


def remove_unplaced(folder: Path) -> None:
    """Removes what killed processes have left of `placing`, where none is at work any more."""
    if stores.is_remote(folder):
        return
    for left in folder.glob(f"*{stores.PARTIAL}*"):
        left.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a file to write, which takes the place of `path` when the block ends well.

    It has the permissions of the file before it. A link at `path` stays, and the file that it
    points to is replaced. What else lies beside it is not touched.
    """
    if stores.is_remote(path):
        with stores.uploading(path) as partial:
            yield partial
        return
    place = Path(os.path.realpath(path))
    with scratch_folder(place) as folder:
        partial = folder / path.name
        yield partial
        with contextlib.suppress(FileNotFoundError):
            partial.chmod(stat.S_IMODE(place.stat().st_mode))
        os.replace(partial, place)


@contextlib.contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yields a folder beside `path` that nobody else uses or can read, and removes it at the end.

    Those that killed processes left for this path are removed too: they are the ones that no
    process has locked. Of a path in a store it is a folder of this machine.
    """
    if stores.is_remote(path):
        with tempfile.TemporaryDirectory(prefix="bct_keras-") as name:
            yield Path(name)
        return
    prefix = f".{path.name}.partial-"
    for name in names_left(path.parent, prefix):
        if re.fullmatch(rf"{re.escape(prefix)}[a-z0-9_]{{8}}", name):
            left = path.parent / name
            dead = lock_folder(left)
            if dead is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(dead)
    descriptor = None
    while descriptor is None:  # between being made and locked it looks dead to others
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
        descriptor = lock_folder(folder)
    try:
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def names_left(folder: Path, prefix: str) -> list[str]:
    """Returns the names in a folder that begin so: few, where there may be millions of others."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.name.startswith(prefix)]
