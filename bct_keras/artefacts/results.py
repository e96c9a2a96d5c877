"""Writes and reads what commands have found, as JSON.

Its fingerprint is kept, so that damage is seen when it is read again.
"""

import json
from pathlib import Path
from typing import Any

from bct_keras.artefacts.files import write_atomically
from bct_keras.artefacts.manifests import MANIFEST, file_sha256, fingerprint, read_manifest
from bct_keras.errors import InputError
from bct_keras.untrusted.json_files import field, read_json, read_object


def write_result(folder: Path, name: str, found: Any) -> dict[str, str]:
    """Writes what a command has found; returns what the manifest is to say of it.

    That is what `read_result` knows it by.
    """
    path = folder / name
    path.write_text(json.dumps(found, indent=1) + "\n")
    return {name: file_sha256(path)}


def read_result(folder: Path, kind: str, name: str) -> Any:
    """Returns what `write_result` wrote, if it is still that."""
    files = field(read_manifest(folder, kind), "files", dict, folder / MANIFEST)
    path = folder / name
    if not path.is_file() or file_sha256(path) != files.get(name):
        raise InputError(
            f"{path} is missing or was changed; remove {folder}, and the same command makes it anew"
        )
    return read_json(path)


def write_sealed(path: Path, found: dict[str, Any]) -> None:
    """Writes what may be taken again in place of work, with its own fingerprint."""
    sealed = {"fingerprint": fingerprint(found), "found": found}
    write_atomically(path, json.dumps(sealed, indent=1) + "\n")


def read_sealed(path: Path) -> dict[str, Any] | None:
    """Returns what `write_sealed` wrote; None where it is not there or not as it was."""
    try:
        sealed = read_object(path)
        found = field(sealed, "found", dict, path)
    except InputError:
        return None
    if sealed.get("fingerprint") != fingerprint(found):
        return None
    return found
