"""Folders that commands make: each with a manifest, written beside its place and renamed into it."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bct_keras
from bct_keras.errors import InputError

MANIFEST = "manifest.json"


def fingerprint(value: Any) -> str:
    """The name of a value that can be written as JSON: the same for equal values, on any machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path, kind: str) -> dict[str, Any]:
    path = folder / MANIFEST
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder (a {kind} was expected)")
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{folder} is not a {kind}: it has no {MANIFEST}") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("kind") != kind:
        found = manifest.get("kind") if isinstance(manifest, dict) else type(manifest).__name__
        raise InputError(f"{folder} is not a {kind}: its {MANIFEST} says '{found}'")
    if not isinstance(manifest.get("made_from"), dict):
        raise InputError(f"{path} is not complete: it does not say what the {kind} was made from")
    return manifest


def kind_of(folder: Path) -> str | None:
    """What the folder's manifest says it is; None where it says nothing."""
    try:
        return json.loads((folder / MANIFEST).read_text())["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_manifest(folder: Path, kind: str, made_from: dict[str, Any], **facts: Any) -> None:
    manifest = {"kind": kind, "version": bct_keras.__version__, "made_from": made_from, **facts}
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)


def is_current(folder: Path, kind: str, made_from: dict[str, Any]) -> bool:
    """Whether the folder is there and made from just this; an error where it holds something else."""
    check_place(folder, kind)
    if not folder.exists() or not any(folder.iterdir()):
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
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    found = kind_of(folder)
    if found not in kinds:
        says = f"its {MANIFEST} says '{found}'" if found else f"no {MANIFEST}"
        raise InputError(f"{folder} holds something else ({says}); choose another folder or remove it")


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill; it takes its place only when the block ends well."""
    if folder.name in ("", ".."):
        raise InputError(f"{folder}: give the folder to make a name of its own")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        os.replace(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
