"""Arrays that are computed of embeddings when they are first asked for, and kept beside them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import artefacts, stores
from bct_keras.data.embeddings import EmbeddingShards
from bct_keras.errors import InputError


@dataclass(frozen=True)
class Kept:
    """Arrays in a folder beside embeddings, whose name tells what they were computed of.

    Args:
        shards: The embeddings.
        kind: Of the folder, as its manifest says.
        suffix: What the folder's name has after that of the embeddings.
        depends_on: What they depend on besides the embeddings and their data.
        compute: Returns all arrays by name.
    """

    shards: EmbeddingShards
    kind: str
    suffix: str
    depends_on: dict[str, Any]
    compute: Callable[[], dict[str, np.ndarray]]

    @property
    def made_from(self) -> dict[str, Any]:
        """Returns all that the arrays depend on."""
        return {
            "data": self.shards.data.fingerprint,
            "old_embeddings": self.shards.fingerprint,
            **self.depends_on,
        }

    @property
    def folder(self) -> Path:
        """The folder, beside that of the embeddings."""
        beside = self.shards.folder
        name = artefacts.fingerprint(self.made_from)[:12]
        return beside.with_name(f"{beside.name}-{self.suffix}-{name}")

    def file(self, name: str) -> Path:
        """Returns an array's file, made with the others where they are not there yet."""
        with artefacts.making(self.folder, self.kind, self.made_from) as folder:
            if folder:
                self.write(folder)
        path = self.folder / f"{name}.npy"
        files = artefacts.read_manifest(self.folder, self.kind).get("files")
        expected = files.get(path.name) if isinstance(files, dict) else None
        if stores.size_of(path) is None or artefacts.file_sha256(path) != expected:
            raise InputError(
                f"{path}: these {self.kind} are missing or were changed; remove {self.folder}; "
                "it is made anew"
            )
        return path

    def write(self, folder: Path) -> None:
        """Computes all arrays, and writes them with their manifest."""
        files = {}
        for name, values in sorted(self.compute().items()):
            path = folder / f"{name}.npy"
            np.save(path, values)
            files[path.name] = artefacts.file_sha256(path)
        artefacts.write_manifest(folder, self.kind, self.made_from, files=files)
