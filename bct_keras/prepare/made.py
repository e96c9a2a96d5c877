"""What the manifests of a data set tell of its files, though one of them may be lost itself."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bct_keras import artefacts, stores
from bct_keras.data import records
from bct_keras.errors import InputError
from bct_keras.prepare.splits import VIEWS
from bct_keras.untrusted.json_files import field


@dataclass(frozen=True)
class MadeBefore:
    """The files of a data set, as they were committed."""

    shards: dict[str, dict[str, Any]]  # by name what `Writer` has found of each
    views: list[str]
    names: bool  # whether there is a file of what people call the identities


def made_before(out: Path, made_from: dict[str, Any]) -> MadeBefore | None:
    """Returns what was committed there, made from just this; None where nothing was.

    Where the manifest of the whole is lost, those of the views tell together what it said.
    """
    if stores.size_of(out / artefacts.MANIFEST) is not None:
        whole = read(out, made_from)
        if whole is None:
            return None
        return MadeBefore(entries(whole), field(whole, "views", list, out), "names" in whole)
    views = {}
    for name in VIEWS:
        if stores.size_of(out / name / artefacts.MANIFEST) is not None:
            found = read(out / name, made_from)
            if found is not None:
                views[name] = found
    if not views:
        return None
    shards: dict[str, dict[str, Any]] = {}
    for manifest in views.values():
        shards |= entries(manifest)
    has_names = any("names" in manifest for manifest in views.values())
    return MadeBefore(shards, sorted(views), has_names)


def read(folder: Path, made_from: dict[str, Any]) -> dict[str, Any] | None:
    """Returns a manifest that says that it was made from just this; None where it does not."""
    try:
        manifest = artefacts.read_manifest(folder, records.KIND)
        return manifest if manifest["made_from"] == made_from else None
    except InputError:  # others tell what is wrong with it
        return None


def entries(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns what was found of each shard when it was written, by its name."""
    found = {}
    for entry in manifest["shards"]:
        name = PurePosixPath(entry["path"]).stem
        found[name] = {
            "name": name,
            "records": entry["records"],
            "bytes": entry["bytes"],
            "sha256": entry["sha256"],
            # Of all shards together, which is all that a manifest is asked for.
            "same_size": manifest["same_size"],
            "upright": manifest.get("upright", False),
        }
    return found
