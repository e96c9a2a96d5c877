"""Data sets and embeddings as earlier versions wrote them: manifests that list every file."""

import json
from pathlib import Path

import numpy as np

from bct_keras import artefacts
from bct_keras.artefacts.tables import hexadecimal
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.data.embedding_files import FIELDS, files_of
from bct_keras.data.embeddings import field_path


def list_shards(folder: Path) -> None:
    """Makes a data set one of an earlier version, and each of its views."""
    for path in sorted(folder.rglob(artefacts.MANIFEST)):
        manifest = json.loads(path.read_text())
        way_up = "" if path.parent == folder else "../"
        manifest["shards"] = [
            {
                "path": f"{way_up}shards/{shard.path.name}",
                "records": shard.records,
                "bytes": shard.bytes,
                "sha256": shard.sha256,
            }
            for shard in open_data_set(path.parent).shards
        ]
        path.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    remove_tables(folder)


def list_files(folder: Path, data: DataSet) -> None:
    """Makes embeddings those of an earlier version."""
    manifest_path = folder / artefacts.MANIFEST
    manifest = json.loads(manifest_path.read_text())
    files = {}
    rows = files_of(folder, manifest, data.shards).rows
    for field in FIELDS:
        for name, sha256 in zip(data.shards.names(), hexadecimal(rows[field]), strict=True):
            files[f"{name}.{field}.npy"] = sha256
    for shard in data.shards:  # which of them are credible, which is kept elsewhere now
        for field in ("credible", "credible_rows_then_columns"):
            path = field_path(folder, shard, field)
            np.save(path, np.ones(shard.records, np.float32))
            files[path.name] = artefacts.file_sha256(path)
    manifest["made_from"] |= {"credible_share": 0.9, "credible": ["rows", "rows_then_columns"]}
    del manifest["shards"]
    manifest["files"] = files
    manifest_path.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    remove_tables(folder)


def remove_tables(folder: Path) -> None:
    for name in (artefacts.TABLE, artefacts.TABLE + artefacts.COPY):
        (folder / name).unlink()
    (folder / (artefacts.MANIFEST + artefacts.COPY)).unlink()
