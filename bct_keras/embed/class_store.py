"""The old embeddings of a data set as methods ask for them; features of classes are kept."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import artefacts, progress
from bct_keras.data.embeddings import EmbeddingShards, FieldFiles
from bct_keras.embed.by_class import map_classes
from bct_keras.embed.kept import Kept
from bct_keras.errors import InputError
from bct_keras.methods.class_blocks import Block
from bct_keras.methods.old_source import Classifier, OldSource
from bct_keras.untrusted.arrays import load_array

KIND = "class features"
# One more whenever `class_features` computes something else: what is stored is then not taken.
FORMULAS = 3
BATCH_SIZE = 256


class StoredOldEmbeddings(OldSource):
    """Embedding shards; the features of each class are kept in a folder beside them."""

    def __init__(
        self, shards: EmbeddingShards, read_classifier: Callable[[str], Classifier] | None = None
    ):
        """Takes the shards.

        Args:
            shards: Stored old embeddings.
            read_classifier: Finds the old head, by what the user gave to find it by.
        """
        self.shards = shards
        self.dims = shards.dims
        self.classes = shards.data.classes
        self.read_classifier = read_classifier

    @property
    def kept(self) -> Kept:
        """The features of all classes, beside the embeddings."""
        return Kept(
            shards=self.shards,
            kind=KIND,
            suffix="classes",
            depends_on={"formulas": FORMULAS},
            compute=self.computed,
        )

    @property
    def folder(self) -> Path:
        """The folder of the classes' features."""
        return self.kept.folder

    def feature(self, name: str) -> np.ndarray:
        """Returns one of the features, made with the others where they are not there yet."""
        return load_array(self.kept.file(name))

    @cached_property
    def labels(self) -> np.ndarray:
        """The labels of all records, in the order of the shards."""
        of_shards = [load_array(path) for path in self.files("label")]
        return np.concatenate(of_shards)

    def files(self, field: str) -> FieldFiles:
        """Returns the files of a field, one for each shard."""
        return FieldFiles(self.shards.folder, self.shards.data, field)

    def map_classes(
        self, function: Callable[[Block], Any], what: str, new: list[Path] | None = None
    ) -> Iterator[tuple[Block, Any]]:
        """Yields each block of classes with what the function returns for it.

        Where `new` is given, a block has the embeddings of these files too, after the old ones.
        """
        sources: list[Iterable[Path]] = [self.files("old_embedding")]
        if new is not None:
            sources.append(new)
        yield from map_classes(function, self.labels, sources, what)

    @contextlib.contextmanager
    def embedded(self, embed: Callable[[Any], np.ndarray]) -> Iterator[list[Path]]:
        """Gives the new embeddings as files, one for each image shard.

        Args:
            embed: Returns the new embeddings, [batch, dims], of [batch] images.
        """
        data = self.shards.data
        what = "embedding with the new encoder"
        with artefacts.scratch_folder(self.folder) as folder:
            files = []
            with progress.bar(what, data.records) as done:
                for shard in data.shards:
                    found = []
                    for batch in data.batches(BATCH_SIZE, (shard,)):
                        embeddings = embed(batch["image"])
                        found.append(embeddings)
                        done.update(len(embeddings))
                    path = folder / f"{shard.name}.npy"
                    np.save(path, np.concatenate(found))
                    files.append(path)
            yield files

    def classifier(self, named: str = "") -> Classifier:
        """Returns the old head, by what the user gave to find it by."""
        if self.read_classifier is None:
            raise InputError("the old encoder's head is not known")
        return self.read_classifier(named)
