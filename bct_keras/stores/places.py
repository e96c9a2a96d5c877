"""Paths of this machine and of object stores, alike: `s3://bucket/data`, `gs://bucket/data`."""

import os
from functools import cache
from pathlib import Path
from typing import Any

from bct_keras.errors import InputError

PREFIXES = ("s3://", "gs://")


def place(named: str | Path) -> Path:
    """Returns the path that is named: of this machine, or of an object store.

    That of a store has the methods of pathlib's.
    """
    if not is_remote(named):
        return named if isinstance(named, Path) else Path(named)
    return epaths().StorePath(os.fspath(named))


def is_remote(path: object) -> bool:
    """Tells whether a path is of an object store."""
    return str(path).startswith(PREFIXES)


def joined(folder: Path, name: str) -> Path:
    """Returns what a name means from a folder: `..` is only a letter or two in an object store."""
    if is_remote(folder):
        while name.startswith("../"):
            folder, name = folder.parent, name[3:]
    return folder / name


def store_of(path: Path) -> Any:
    """Returns the file system of fsspec that a path of a store belongs to."""
    return epaths().store_of(path)


@cache
def epaths() -> Any:
    """Returns the module of paths of stores; raises where what it needs is not installed."""
    try:
        from bct_keras.stores import epaths as found
    except ImportError:
        raise InputError(
            "object stores need more than is installed: pip install 'bct_keras[cloud]'"
        ) from None
    return found
