"""Folders that commands make, each under a lock that is held from the check to the renaming.

A folder that is being made is filled beside its place; a run's folder is filled in its place, and
keeps its lock file.
"""

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bct_keras
from bct_keras import progress, stores
from bct_keras.artefacts.files import scratch_folder, write_atomically
from bct_keras.artefacts.in_store import STARTED as STARTED
from bct_keras.artefacts.in_store import filling_in_store, put_when_filled
from bct_keras.artefacts.locks import (
    HOLDER,
    OPEN_LOCK,
    is_at,
    lock_folder,
    tell_holder,
    told_holder,
    try_lock,
)
from bct_keras.artefacts.manifests import LOCK, fingerprint, is_current, is_empty
from bct_keras.errors import InputError, UnfinishedError


@contextlib.contextmanager
def alone(folder: Path, other: str) -> Iterator[int]:
    """Holds the folder's lock and yields its descriptor; while `other` has it this waits.

    Processes that are given the descriptor hold the lock too.
    """
    path = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, OPEN_LOCK, 0o644)
        if not try_lock(descriptor, folder):
            by = told_holder(descriptor)
            progress.note(f"{folder}: waiting for {other} ({by}, or what it has started)")
            try_lock(descriptor, folder, wait=True)
        if is_at(descriptor, path):
            break
        os.close(descriptor)  # the one before had nothing to keep, and removed the folder
    try:
        tell_holder(descriptor)
        yield descriptor
    finally:
        if is_empty(folder):  # what was asked for was refused
            shutil.rmtree(folder)
        os.close(descriptor)


@contextlib.contextmanager
def filling(folder: Path, kind: str, made_from: dict[str, Any]) -> Iterator[Path | None]:
    """Yields a folder to fill file by file, by many processes; None where it is there already.

    It is `making` with `resume`, but that a folder of a store is filled in its place.
    """
    if stores.is_remote(folder):
        with filling_in_store(folder, kind, made_from, begun_text(made_from)) as place:
            yield place
    else:
        with making(folder, kind, made_from, resume=True) as partial:
            yield partial


def partial_of(folder: Path) -> Path:
    """Returns where a folder is filled: beside its place, so that it can be renamed into it."""
    if folder.name in ("", ".."):
        raise InputError(f"{folder}: give the folder to make a name of its own")
    return folder.with_name(f".{folder.name}.partial")


@contextlib.contextmanager
def making(
    folder: Path, kind: str, made_from: dict[str, Any], resume: bool = False
) -> Iterator[Path | None]:
    """Yields a folder to fill, which takes its place at the end; None where it is there already.

    It takes the place when the block ends well. Of two commands that make it at once the second one
    waits, and then finds it there. With `resume`, what a killed command left is there again where
    it was made from the same.
    """
    if stores.is_remote(folder):
        with filling_in_store(folder, kind, made_from, begun_text(made_from)) as place:
            if place is None:
                yield None
            else:
                with put_when_filled(place) as here:
                    yield here
        return
    # Looked at without a lock first, as it may lie where nothing can be written.
    if not is_current(folder, kind, made_from):
        with locked_partial(folder) as partial, removed_on_error(partial, resume):
            if not is_current(folder, kind, made_from):  # not by now either
                begin(partial, made_from, resume)
                yield partial
                put_in_place(partial, folder)
                return
            remove(partial)
    yield None


@contextlib.contextmanager
def new_folder(folder: Path, replace: bool = False) -> Iterator[Path]:
    """Yields a folder to fill, which takes its place when the block ends well.

    With `replace` it may take the place of what is there.
    """
    if stores.is_remote(folder):
        with put_when_filled(folder) as here:
            yield here
        return
    with locked_partial(folder) as partial, removed_on_error(partial, resume=False):
        begin(partial, {}, resume=False)
        yield partial
        put_in_place(partial, folder, replace)


@contextlib.contextmanager
def removed_on_error(partial: Path, resume: bool) -> Iterator[None]:
    """Removes the unfinished folder where the block fails.

    With `resume` it does so only where the input is wrong, and so stays wrong: all else may be
    better the next time.
    """
    try:
        yield
    except BaseException as error:
        refused = isinstance(error, InputError) and not isinstance(error, UnfinishedError)
        if refused or not resume:
            remove(partial)
        raise


@contextlib.contextmanager
def mending(folder: Path) -> Iterator[None]:
    """Keeps others away from a folder in its place while a file of it is made anew."""
    if stores.is_remote(folder):
        yield
        return
    with locked_partial(folder) as partial:
        try:
            yield
        finally:
            remove(partial)


def remove(partial: Path) -> None:
    """Removes an unfinished folder, after it was moved away from its place.

    Once its lock is removed, another process may begin to fill a folder there.
    """
    try:
        with scratch_folder(partial) as aside:
            os.replace(partial, aside / partial.name)
    except OSError:  # such as a disk without room for one more folder
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def locked_partial(folder: Path) -> Iterator[Path]:
    """Yields the folder in which another one is made, locked.

    Forked processes hold the lock as well. So it is free only when none of a killed command's
    processes writes any more.
    """
    partial = partial_of(folder)
    partial.parent.mkdir(parents=True, exist_ok=True)
    descriptor = None
    while descriptor is None:
        with contextlib.suppress(FileExistsError):
            partial.mkdir()
        descriptor = lock_folder(partial, waiting=str(folder))
    try:
        yield partial
    finally:
        os.close(descriptor)


def begin(partial: Path, made_from: dict[str, Any], resume: bool) -> None:
    """Empties the folder, unless what is in it was begun from the same and is wanted."""
    if resume and is_begun(partial, made_from):
        return
    for path in partial.iterdir():
        if path.name == HOLDER:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if resume:
        write_atomically(partial / STARTED, begun_text(made_from))


def is_begun(partial: Path, made_from: dict[str, Any]) -> bool:
    """Tells whether a folder was begun from just this."""
    note = partial / STARTED
    return note.is_file() and note.read_text(errors="replace") == begun_text(made_from)


def begun_text(made_from: dict[str, Any]) -> str:
    """Returns what stands in an unfinished folder of what it is made from."""
    return json.dumps(fingerprint([bct_keras.__version__, made_from]))


def put_in_place(partial: Path, folder: Path, replace: bool = False) -> None:
    """Renames a filled folder into its place.

    The lock is removed last, so that nobody else can begin to fill the folder before it is there.
    """
    (partial / STARTED).unlink(missing_ok=True)
    if not replace or is_empty(folder):
        os.replace(partial, folder)
    else:
        partial.chmod(stat.S_IMODE(folder.stat().st_mode))
        with scratch_folder(folder) as before:
            os.replace(folder, before / folder.name)
            try:
                os.replace(partial, folder)
            except BaseException:
                os.replace(before / folder.name, folder)
                raise
    (folder / HOLDER).unlink(missing_ok=True)
