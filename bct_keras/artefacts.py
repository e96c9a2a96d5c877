"""Folders that commands make: each with a manifest, written beside its place and renamed into it."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bct_keras
from bct_keras.errors import InputError, UnfinishedError
from bct_keras.untrusted.json_files import field, read_json, read_object
from bct_keras.untrusted.reading import opened

MANIFEST = "manifest.json"
STARTED = ".started.json"  # what an unfinished folder is made from
LOCK = ".lock"
MAKERS = {"data set": "prepare", "run": "train", "report": "evaluate"}
LOCK_SECONDS = 10.0  # processes of a killed command stop within this


def fingerprint(value: Any) -> str:
    """The name of a value that can be written as JSON: the same for equal values, on any machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path, kind: str) -> dict[str, Any]:
    path = folder / MANIFEST
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder (a {kind} was expected)")
    if not path.exists():
        made = f"; python -m bct_keras.{MAKERS[kind]} makes one" if kind in MAKERS else ""
        raise InputError(f"{folder} is not a {kind}: it has no {MANIFEST}{made}")
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("kind") != kind:
        found = manifest.get("kind") if isinstance(manifest, dict) else type(manifest).__name__
        raise InputError(f"{folder} is not a {kind}: its {MANIFEST} says '{found}'")
    if not isinstance(manifest.get("made_from"), dict):
        raise InputError(f"{path} is not complete: it does not say what the {kind} was made from")
    return manifest


def kind_of(folder: Path) -> str | None:
    """What the folder's manifest says it is; None where it says nothing."""
    try:
        return field(read_object(folder / MANIFEST), "kind", str, folder)
    except InputError:
        return None


def write_manifest(folder: Path, kind: str, made_from: dict[str, Any], **facts: Any) -> None:
    manifest = {"kind": kind, "version": bct_keras.__version__, "made_from": made_from, **facts}
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)


def write_beside(path: Path, write: Callable[[Path], Any]) -> None:
    """`write` makes the file that it is given, of the same ending, which then takes its place."""
    partial = path.with_name(f".partial.{path.name}")
    write(partial)
    partial.replace(path)


def write_result(folder: Path, name: str, found: Any) -> dict[str, str]:
    """Writes what a command has found, as JSON; returns what `read_result` knows it by, for the manifest."""
    (folder / name).write_text(json.dumps(found, indent=1) + "\n")
    return {name: file_sha256(folder / name)}


def read_result(folder: Path, kind: str, name: str) -> Any:
    """Returns what `write_result` wrote, if it is still that."""
    files = field(read_manifest(folder, kind), "files", dict, folder / MANIFEST)
    path = folder / name
    if not path.is_file() or file_sha256(path) != files.get(name):
        raise InputError(f"{path} is missing or was changed; remove {folder}, and the same command makes it anew")
    return read_json(path)


def write_sealed(path: Path, found: dict[str, Any]) -> None:
    """Writes what may be taken again in place of work: with its own fingerprint, so that damage is seen."""
    write_atomically(path, json.dumps({"fingerprint": fingerprint(found), "found": found}, indent=1) + "\n")


def read_sealed(path: Path) -> dict[str, Any] | None:
    """Returns what `write_sealed` wrote; None where it is not there or not as it was."""
    try:
        sealed = read_object(path)
        found = field(sealed, "found", dict, path)
        return found if sealed.get("fingerprint") == fingerprint(found) else None
    except InputError:
        return None


def is_current(folder: Path, kind: str, made_from: dict[str, Any]) -> bool:
    """Whether the folder is there and made from just this; an error where it holds something else."""
    check_place(folder, kind)
    if is_empty(folder):
        return False
    made = read_manifest(folder, kind)["made_from"]
    different = sorted(key for key in made.keys() | made_from.keys() if made.get(key) != made_from.get(key))
    if different:
        key = different[0]
        raise InputError(
            f"{folder} is there, made from something else ({key}: {made.get(key)!r} there, "
            f"{made_from.get(key)!r} now); choose another folder or remove it"
        )
    return True


def check_place(folder: Path, *kinds: str) -> None:
    """An error where the folder holds anything but an artefact of one of these kinds."""
    if is_empty(folder):
        return
    found = kind_of(folder)
    if found not in kinds:
        says = f"its {MANIFEST} says '{found}'" if found else f"no {MANIFEST}"
        raise InputError(f"{folder} holds something else ({says}); choose another folder or remove it")


def is_empty(folder: Path) -> bool:
    return not folder.exists() or (folder.is_dir() and {path.name for path in folder.iterdir()} <= {LOCK})


@contextlib.contextmanager
def alone(folder: Path, other: str) -> Iterator[int]:
    """The folder's lock; while `other` has it this waits. Processes that are given its descriptor hold it too."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{folder}: waiting for {other}", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield file.fileno()
        finally:
            if is_empty(folder):  # what was asked for was refused
                shutil.rmtree(folder)


def named(folder: Path) -> Path:
    """As given, but for `.` and what ends in `..`: other folders are looked for beside it, by its name."""
    return folder.resolve() if folder.name in ("", "..") else folder


def partial_of(folder: Path) -> Path:
    """Beside its place, so that it can be renamed into it."""
    if folder.name in ("", ".."):
        raise InputError(f"{folder}: give the folder to make a name of its own")
    return folder.with_name(f".{folder.name}.partial")


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill; it takes its place only when the block ends well."""
    partial = partial_of(folder)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        os.replace(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextlib.contextmanager
def resumed_folder(folder: Path, made_from: dict[str, Any]) -> Iterator[Path]:
    """As `new_folder`, but what a killed command left is there again where it was made from just the same."""
    partial = partial_of(folder)
    partial.mkdir(parents=True, exist_ok=True)
    with only_one(partial, folder):
        started = fingerprint([bct_keras.__version__, made_from])
        if made_from_before(partial) != started:
            empty(partial)
            write_atomically(partial / STARTED, json.dumps(started))
        try:
            yield partial
        except UnfinishedError:
            raise
        except InputError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        (partial / STARTED).unlink()
        os.replace(partial, folder)


def made_from_before(partial: Path) -> Any:
    """Returns what an unfinished folder was begun from; None where it does not say."""
    try:
        return read_json(partial / STARTED)
    except InputError:
        return None


@contextlib.contextmanager
def only_one(partial: Path, folder: Path) -> Iterator[None]:
    """Forked processes hold the lock as well, so it is free only when none of a killed command's writes any more."""
    descriptor = os.open(partial, os.O_RDONLY)
    deadline = time.monotonic() + LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise InputError(f"another command is making {folder}; wait for it") from None
                time.sleep(0.1)
        if not partial.is_dir() or os.stat(partial).st_ino != os.fstat(descriptor).st_ino:
            raise InputError(f"another command has just made {folder}; run this one again")
        yield
    finally:
        os.close(descriptor)


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
