"""What commands have found, as JSON with its fingerprint, so that damage is seen when it is read
again.
"""

import json
from pathlib import Path
from typing import Any

from bct_keras.artefacts.files import write_atomically
from bct_keras.artefacts.manifests import MANIFEST, file_sha256, fingerprint, read_manifest
from bct_keras.errors import InputError
from bct_keras.untrusted.json_files import field, read_json, read_object


def write_result(folder: Path, name: str, found: Any) -> dict[str, str]:
    """Writes what a command has found, as JSON; returns what `read_result` knows it by, for the
    manifest.
    """
    (folder / name).write_text(json.dumps(found, indent=1) + "\n")
    return {name: file_sha256(folder / name)}


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
    """Writes what may be taken again in place of work: with its own fingerprint, so that damage is
    seen.
    """
    write_atomically(
        path, json.dumps({"fingerprint": fingerprint(found), "found": found}, indent=1) + "\n"
    )


def read_sealed(path: Path) -> dict[str, Any] | None:
    """Returns what `write_sealed` wrote; None where it is not there or not as it was."""
    try:
        sealed = read_object(path)
        found = field(sealed, "found", dict, path)
        return found if sealed.get("fingerprint") == fingerprint(found) else None
    except InputError:
        return None
