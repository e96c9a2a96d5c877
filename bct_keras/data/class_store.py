"""The old embeddings of a data set, class by class: computed once, kept beside the embedding shards."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bct_keras import artefacts
from bct_keras.data import class_features
from bct_keras.data.by_class import Block, map_classes
from bct_keras.data.embeddings import EmbeddingShards, field_path
from bct_keras.errors import InputError
from bct_keras.untrusted.arrays import load_array, open_array

KIND = "class features"
OF_DIMS, OF_CLASS = ("means", "prototypes", "centres"), ("radii", "kept")
FIELDS = OF_DIMS + OF_CLASS
FORMULAS = 2  # one more whenever `class_features` computes something else: what is stored is then not taken


@dataclass(frozen=True)
class OldClasses:
    """Each array has a row for each class of the data set; zeros where a class has no record."""

    old: EmbeddingShards

    @property
    def folder(self) -> Path:
        return self.old.folder.with_name(f"{self.old.folder.name}-classes-{artefacts.fingerprint(self.made_from)[:12]}")

    def feature(self, name: str) -> np.ndarray:
        """One of FIELDS, made with the others where they are not there yet."""
        with artefacts.making(self.folder, KIND, self.made_from) as folder:
            if folder:
                self.write(folder)
        path, files = self.folder / f"{name}.npy", artefacts.read_manifest(self.folder, KIND).get("files")
        expected = files.get(path.name) if isinstance(files, dict) else None
        if not path.is_file() or artefacts.file_sha256(path) != expected:
            raise InputError(
                f"{path}: these class features are missing or were changed; remove {self.folder}; it is made anew"
            )
        return load_array(path)

    def write(self, folder: Path) -> None:
        for field, values in self.computed().items():
            np.save(folder / f"{field}.npy", values)
        files = {file.name: artefacts.file_sha256(file) for file in sorted(folder.glob("*.npy"))}
        artefacts.write_manifest(folder, KIND, self.made_from, files=files)

    @property
    def made_from(self) -> dict[str, str | int]:
        return {"data": self.old.data.fingerprint, "old_embeddings": self.old.fingerprint, "formulas": FORMULAS}

    @cached_property
    def labels(self) -> np.ndarray:
        return np.concatenate([open_array(path) for path in self.files("label")])

    def files(self, field: str) -> list[Path]:
        return [field_path(self.old.folder, shard, field) for shard in self.old.data.shards]

    def computed(self) -> dict[str, np.ndarray]:
        def features(block: Block):
            (old,) = block.embeddings
            centres_and_radii = class_features.centres_and_radii(old)
            return class_features.means(old), class_features.prototypes(old), *centres_and_radii

        classes, dims = self.old.data.classes, self.old.dims
        found = {name: np.zeros((classes, dims), np.float32) for name in OF_DIMS}
        found |= {name: np.zeros(classes, np.float32) for name in OF_CLASS}
        source = self.files("old_embedding")
        for block, results in map_classes(features, self.labels, [source], "old embeddings by class"):
            for name, values in zip(FIELDS, results, strict=True):
                found[name][block.classes] = values
        return found

    def refined(self, embed_new: Callable[[Path], list[Path]], temperature: float, smoothing: float) -> np.ndarray:
        """UniBCT's prototypes; `embed_new` writes a file of new embeddings for every shard into a folder."""

        def refine(block: Block) -> np.ndarray:
            old, new = block.embeddings
            refined = class_features.refined_prototypes(old, class_features.normalised(new), temperature, smoothing)
            return class_features.normalised(refined)

        found = np.zeros((self.old.data.classes, self.old.dims), np.float32)
        with artefacts.scratch_folder(self.folder) as folder:
            sources = [self.files("old_embedding"), embed_new(folder)]
            for block, prototypes in map_classes(refine, self.labels, sources, "refining prototypes"):
                found[block.classes] = prototypes
        return found
