"""What the manifests of a data set tell of its files, though one of them may be lost itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import artefacts, stores
from bct_keras.data import records
from bct_keras.data.shard_list import FOLDER, Shards, shards_of
from bct_keras.engines import Piece
from bct_keras.errors import InputError
from bct_keras.prepare.splits import VIEWS
from bct_keras.untrusted.json_files import field


@dataclass(frozen=True)
class MadeBefore:
    """The files of a data set, as they were committed."""

    shards: Shards
    same_size: bool  # of all shards together, which is all that a manifest is asked for
    upright: bool
    views: list[str]
    names: bool  # whether there is a file of what people call the identities
    by_table: bool  # and not by an earlier version, whose manifests list the shards themselves

    def results(self, pieces: Sequence[Piece]) -> Iterator[dict[str, Any]]:
        """Yields what `Writer` has found of the shard of each piece."""
        numbers = {name: number for number, name in enumerate(self.shards.names())}
        for piece in pieces:
            shard = self.shards[numbers[piece.name]]
            yield {
                "name": piece.name,
                "records": shard.records,
                "bytes": shard.bytes,
                "sha256": shard.sha256,
                "same_size": self.same_size,
                "upright": self.upright,
            }


def made_before(out: Path, made_from: dict[str, Any]) -> MadeBefore | None:
    """Returns what was committed there, made from just this; None where nothing was.

    Where the manifest of the whole is lost, those of the views tell together what it said.
    """
    if stores.size_of(out / artefacts.MANIFEST) is not None:
        whole = read(out, made_from)
        if whole is None:
            return None
        return together({"": whole}, out, field(whole, "views", list, out))
    views = {}
    for name in VIEWS:
        if stores.size_of(out / name / artefacts.MANIFEST) is not None:
            found = read(out / name, made_from)
            if found is not None:
                views[name] = found
    return together(views, out, sorted(views)) if views else None


def together(manifests: dict[str, dict[str, Any]], out: Path, views: list[str]) -> MadeBefore:
    """Returns what manifests, each of a folder in `out`, say of all shards."""
    rows = []
    for name, manifest in manifests.items():
        rows.append(shards_of(out / name, manifest).rows)
    every = np.concatenate(rows)
    _, first = np.unique(every["name"], return_index=True)  # views have shards in common
    manifests_found = list(manifests.values())
    return MadeBefore(
        shards=Shards(out / FOLDER, every[np.sort(first)]),
        same_size=all(manifest["same_size"] for manifest in manifests_found),
        upright=all(manifest.get("upright", False) for manifest in manifests_found),
        views=views,
        names=any("names" in manifest for manifest in manifests_found),
        by_table=all(isinstance(manifest["shards"], dict) for manifest in manifests_found),
    )


def read(folder: Path, made_from: dict[str, Any]) -> dict[str, Any] | None:
    """Returns a manifest that says that it was made from just this; None where it does not."""
    try:
        manifest = artefacts.read_manifest(folder, records.KIND)
        return manifest if manifest["made_from"] == made_from else None
    except InputError:  # others tell what is wrong with it
        return None
