"""Folders that several commands fill at the same time, each a part, on one machine or on many.

Whoever is in there has a shared lock. Whoever finds that nobody else is in there any more can put
the folder in its place, when all parts are done.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bct_keras import stores
from bct_keras.artefacts.folders import begin, filling, is_begun, partial_of, put_in_place
from bct_keras.artefacts.locks import HOLDER, is_at, lock_folder, try_lock
from bct_keras.artefacts.manifests import MANIFEST, is_current
from bct_keras.errors import InputError


@contextlib.contextmanager
def filling_together(folder: Path, kind: str, made_from: dict[str, Any]) -> Iterator[Path | None]:
    """Yields the folder to fill along with others; None where it is in its place already.

    Whatever happens in the block, what is in the folder stays there: it is the work of others too.
    """
    if stores.is_remote(folder):
        with filling(folder, kind, made_from) as place:
            yield place
        return
    if is_current(folder, kind, made_from):
        yield None
        return
    partial = partial_of(folder)
    partial.parent.mkdir(parents=True, exist_ok=True)
    descriptor = lock_with_others(partial, folder, made_from)
    try:
        # It may have been put in its place since, and this is a new and empty one.
        yield None if is_current(folder, kind, made_from) else partial
    finally:
        os.close(descriptor)
        if is_current(folder, kind, made_from):
            remove_if_empty(partial)


def lock_with_others(partial: Path, folder: Path, made_from: dict[str, Any]) -> int:
    """Returns the descriptor of a shared lock on a folder that was begun from just this."""
    while True:
        partial.mkdir(exist_ok=True)
        descriptor = lock_folder(partial)
        if descriptor is not None:  # nobody else is there: what is there may be of something else
            begin(partial, made_from, resume=True)
            try_lock(descriptor, partial, wait=True, shared=True)
        else:
            descriptor = lock_folder(partial, waiting=str(folder), shared=True)
        if descriptor is None:
            continue
        if not is_at(descriptor, partial / HOLDER):
            os.close(descriptor)
        elif is_begun(partial, made_from):
            return descriptor
        else:
            os.close(descriptor)
            raise InputError(
                f"{folder} is being made from something else by another command: wait until it has "
                "ended, or choose another folder"
            )


def remove_if_empty(partial: Path) -> None:
    """Removes a folder that was begun when the one of its name had just been put in place."""
    descriptor = lock_folder(partial) if partial.is_dir() else None
    if descriptor is not None:
        begin(partial, {}, resume=False)
        (partial / HOLDER).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            partial.rmdir()
        os.close(descriptor)


@contextlib.contextmanager
def last_of_all(folder: Path, kind: str, made_from: dict[str, Any]) -> Iterator[Path | None]:
    """Yields the folder to the one that nobody is beside any more; None to all others.

    It takes its place when the block ends well and has written the manifest. In a store nobody
    knows of others: two that commit at the same time put the same manifest.
    """
    if stores.is_remote(folder):
        with filling(folder, kind, made_from) as place:
            yield place
        return
    partial = partial_of(folder)
    descriptor = lock_folder(partial) if partial.is_dir() else None
    try:
        here = descriptor is not None and is_begun(partial, made_from)
        if not here or is_current(folder, kind, made_from):
            yield None
            return
        yield partial
        if (partial / MANIFEST).is_file():
            put_in_place(partial, folder)
    finally:
        if descriptor is not None:
            os.close(descriptor)
