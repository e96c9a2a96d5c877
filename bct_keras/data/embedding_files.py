"""What is known of the files of embeddings: their sha256, in a table beside the manifest.

Earlier versions listed all files in the manifest itself.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import artefacts
from bct_keras.artefacts import tables
from bct_keras.data.shard_list import Shards
from bct_keras.errors import InputError
from bct_keras.untrusted.json_files import field

KIND = "embeddings"
FIELDS = ("old_embedding", "label")
COLUMNS = tuple((name, *tables.DIGEST) for name in FIELDS)  # of the file of each field
AT_ONCE = 4096
UNKNOWN = bytes(tables.BYTES_OF_DIGEST)  # no file has this sha256


@dataclass(frozen=True, eq=False)
class EmbeddingFiles:
    """The sha256 of each field's file, for each shard of a data set in turn."""

    rows: np.ndarray  # [shards], structured: name, and a sha256 for each field

    def __iter__(self) -> Iterator[dict[str, str]]:
        for start in range(0, len(self.rows), AT_ONCE):
            rows = self.rows[start : start + AT_ONCE]
            columns = [tables.hexadecimal(rows[name]) for name in FIELDS]
            for digests in zip(*columns, strict=True):
                yield dict(zip(FIELDS, digests, strict=True))

    def fingerprint(self) -> str:
        """Returns the fingerprint of all names and of the content of all files."""
        digest = hashlib.sha256()
        for column in ("name", *FIELDS):
            digest.update(np.ascontiguousarray(self.rows[column]).view(np.uint8).data)
        return digest.hexdigest()


def files_of(folder: Path, manifest: dict[str, Any], shards: Shards) -> EmbeddingFiles:
    """Returns what a manifest says of the files of a data set's shards."""
    where = folder / artefacts.MANIFEST
    if "shards" not in manifest:
        return listed_files(field(manifest, "files", dict, where), shards)
    facts = field(manifest, "shards", dict, where)
    if facts.get("table") != artefacts.TABLE:
        raise InputError(f"{where} says no table, or one elsewhere")
    table = tables.read_table(folder / artefacts.TABLE, facts, COLUMNS, KIND)
    names = table.rows["name"]
    if len(names) != len(shards):
        raise InputError(
            f"{table.path} has {len(names):,} shards, and {len(shards):,} were embedded"
        )
    others = names != shards.rows["name"]
    if others.any():
        number = int(np.argmax(others))
        name = bytes(shards.rows["name"][number]).decode()
        raise InputError(f"{table.where(number)}: this is not the shard {name} that was embedded")
    return EmbeddingFiles(table.rows)


def listed_files(files: dict[str, Any], shards: Shards) -> EmbeddingFiles:
    """Returns what a manifest of an earlier version lists."""
    columns = {}
    names = shards.names()
    for each in FIELDS:
        column = bytearray()
        for name in names:
            column += known(files.get(f"{name}.{each}.npy"))
        columns[each] = np.frombuffer(column, np.uint8).reshape(len(names), -1)
    return EmbeddingFiles(tables.rows_of(shards.rows["name"], COLUMNS, columns))


def known(sha256: Any) -> bytes:
    """Returns the bytes of a sha256 that is written as a text, or else those of no file."""
    try:
        return tables.digest_of(sha256, "")
    except InputError:
        return UNKNOWN
