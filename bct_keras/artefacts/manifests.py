"""Reads and writes the manifest of a folder: of which kind it is and what it was made from."""

import hashlib
import json
from pathlib import Path
from typing import Any

import bct_keras
from bct_keras import stores
from bct_keras.artefacts.files import replacing
from bct_keras.errors import InputError
from bct_keras.untrusted.json_files import field, read_json, read_object
from bct_keras.untrusted.reading import opened, sha256_of

MANIFEST = "manifest.json"
TABLE = "shards.table"  # of the shards that a manifest is about, beside it
COPY = ".copy"  # at the end of the names of their copies
LARGEST_MANIFEST = 1 << 27  # bytes: those of earlier versions list all shards
LOCK = ".lock"
MAKERS = {"data set": "prepare", "embeddings": "embed", "run": "train", "report": "evaluate"}


def fingerprint(value: Any) -> str:
    """Names a value that can be written as JSON: equal values alike, on any machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Returns the sha256 of a file's content."""
    with opened(path) as file:
        return sha256_of(file)


def read_manifest(folder: Path, kind: str) -> dict[str, Any]:
    """Reads the manifest of a folder that has to be of this kind."""
    path = folder / MANIFEST
    if stores.size_of(path) is None and stores.size_of(folder / (MANIFEST + COPY)) is not None:
        raise InputError(lost(folder, kind))
    if stores.is_remote(folder):
        check_in_store(path, kind)
    elif not folder.is_dir():
        raise InputError(f"{folder}: no such folder (a {kind} was expected)")
    elif not path.exists():
        made = f"; bct {MAKERS[kind]} makes one" if kind in MAKERS else ""
        raise InputError(f"{folder} is not a {kind}: it has no {MANIFEST}{made}")
    manifest = read_json(path, LARGEST_MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("kind") != kind:
        found = manifest.get("kind") if isinstance(manifest, dict) else type(manifest).__name__
        raise InputError(f"{folder} is not a {kind}: its {MANIFEST} says '{found}'")
    if not isinstance(manifest.get("made_from"), dict):
        raise InputError(f"{path} is not complete: it does not say what the {kind} was made from")
    return manifest


def lost(folder: Path, kind: str) -> str:
    """Says that a manifest is lost of which there is a copy."""
    maker = MAKERS.get(kind, kind)
    return f"{folder / MANIFEST}: this manifest is missing; the same {maker} makes it anew"


def check_in_store(path: Path, kind: str) -> None:
    """Raises where a store has no manifest there."""
    if stores.size_of(path) is None:
        raise InputError(
            f"{path.parent}: no {kind} is there in the store, as far as these credentials see"
        )


def kind_of(folder: Path) -> str | None:
    """Returns what the folder's manifest says it is; None where it says nothing."""
    try:
        return field(read_object(folder / MANIFEST, LARGEST_MANIFEST), "kind", str, folder)
    except InputError:
        return None


def write_manifest(folder: Path, kind: str, made_from: dict[str, Any], **facts: Any) -> None:
    """Writes a folder's manifest."""
    manifest = {"kind": kind, "version": bct_keras.__version__, "made_from": made_from, **facts}
    with replacing(folder / MANIFEST) as partial, partial.open("w") as file:
        json.dump(manifest, file, indent=1, sort_keys=True)  # entry by entry: it may be large
        file.write("\n")


def is_current(folder: Path, kind: str, made_from: dict[str, Any]) -> bool:
    """Tells whether the folder is there and made from just this.

    Raises where it holds something else.
    """
    check_place(folder, kind)
    if is_empty(folder):
        return False
    made = read_manifest(folder, kind)["made_from"]
    for key in sorted(made.keys() | made_from.keys()):
        there, now = made.get(key), made_from.get(key)
        if there != now:
            raise InputError(
                f"{folder} is there, made from something else ({key}: {there!r} there, "
                f"{now!r} now); choose another folder or remove it"
            )
    return True


def check_place(folder: Path, *kinds: str) -> None:
    """Raises where the folder holds anything but an artefact of one of these kinds."""
    if is_empty(folder):
        return
    found = kind_of(folder)
    if found not in kinds:
        says = f"its {MANIFEST} says '{found}'" if found else f"no {MANIFEST}"
        raise InputError(
            f"{folder} holds something else ({says}); choose another folder or remove it"
        )


def is_empty(folder: Path) -> bool:
    """Tells whether nothing but a lock lies at a folder's place."""
    if stores.is_remote(folder):
        return stores.size_of(folder / MANIFEST) is None and not stores.names_in(folder, most=1)
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    return all(path.name == LOCK for path in folder.iterdir())


def named(folder: Path) -> Path:
    """Returns the folder as given, but for `.` and what ends in `..`, which have no name.

    Other folders are looked for beside it, by its name.
    """
    if folder.name in ("", "..") and not stores.is_remote(folder):
        return folder.resolve()
    return folder
