"""Copies of a manifest and of its table, by which either is mended that is lost."""

import shutil
from pathlib import Path
from typing import Any

from bct_keras import stores
from bct_keras.artefacts.files import write_beside
from bct_keras.artefacts.folders import mending
from bct_keras.artefacts.manifests import COPY, MANIFEST, TABLE, file_sha256, write_manifest
from bct_keras.errors import InputError
from bct_keras.untrusted.json_files import field, read_object


def write_listing(folder: Path, kind: str, made_from: dict[str, Any], **facts: Any) -> None:
    """Writes the manifest of a folder whose table is there, and a copy of it.

    The manifest commits. Where a command is killed before the copy, the next one makes it.
    """
    write_manifest(folder, kind, made_from, **facts)
    copy(folder / MANIFEST, folder / (MANIFEST + COPY))


def copy(source: Path, path: Path) -> None:
    """Puts a file's content at another place."""
    here = stores.here(source)
    write_beside(path, lambda partial: shutil.copyfile(here, partial))


def missing_twins(folder: Path) -> list[str]:
    """Returns which of a manifest, a table and the copies of both are lost, and have the other one.

    Earlier versions wrote a manifest alone, and of such a folder none is.
    """
    twins = []
    there = set()
    for name in (MANIFEST, TABLE):
        twins += [(name, name + COPY), (name + COPY, name)]
        for each in (name, name + COPY):
            if stores.size_of(folder / each) is not None:
                there.add(each)
    if there <= {MANIFEST}:
        return []
    return [name for name, other in twins if name not in there and other in there]


def restore(folder: Path) -> list[str]:
    """Makes anew, from its twin, what is lost of a manifest, a table and their copies.

    Returns the names of what is there again. A table that is not what its manifest says is not
    copied.
    """
    if not missing_twins(folder):
        return []
    restored = []
    with mending(folder):
        for name in missing_twins(folder):
            twin = name.removesuffix(COPY) if name.endswith(COPY) else name + COPY
            if name.startswith(TABLE) and not is_stated(folder, twin):
                continue
            copy(folder / twin, folder / name)
            restored.append(name)
    return restored


def is_stated(folder: Path, name: str) -> bool:
    """Tells whether a table, or its copy, is what the manifest says."""
    try:
        facts = field(read_object(folder / MANIFEST), "shards", dict, folder)
    except InputError:  # others tell what is wrong with it
        return False
    return facts.get("sha256") == file_sha256(folder / name)
