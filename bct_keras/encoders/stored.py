"""Embeddings that somebody stored with the ids of their images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from bct_keras.data import dataset, unreadable
from bct_keras.encoders.encoder import BATCH_SIZE, Encoder
from bct_keras.errors import InputError
from bct_keras.untrusted import arrays


class StoredEmbeddings(Encoder):
    """Gives what an encoder gave that is not here any more.

    A .npz file holds it as `embeddings` [n, dims] and their `ids` [n]; it may hold `labels` [n]
    too, the class of each item as a number or a name. Nothing here is about images.
    """

    cached = False  # they are stored already

    def __init__(self, path: Path):
        stored = arrays.read_arrays(
            path, "embeddings with their ids", ("embeddings", "ids"), ("labels",)
        )
        embeddings, ids = stored["embeddings"], stored["ids"]
        if embeddings.ndim != 2 or not embeddings.shape[1] or embeddings.dtype.kind not in "biuf":
            raise InputError(f"{path}: `embeddings` has to be numbers, [n, dims]")
        if ids.shape != (len(embeddings),) or ids.dtype.kind not in "US":
            raise InputError(
                f"{path}: `embeddings` has to be [n, dims] and `ids` [n] texts, one for each row"
            )
        super().__init__(path, 0, embeddings.shape[1])
        # What does not fit is infinite, which `checked` tells with its image.
        with np.errstate(over="ignore"):
            self.embeddings = embeddings.astype(np.float32, copy=False)
        names = arrays.texts(ids, path)
        self.ids = names
        self.row_of = {name: row for row, name in enumerate(names)}
        if len(self.row_of) != len(names):
            raise InputError(f"{path}: an id stands there twice")
        self.labels: np.ndarray | None = stored.get("labels")  # [n]
        if self.labels is not None:
            check_labels(self.labels, len(names), path)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Raises an error, for nothing here can embed an image."""
        raise InputError(f"{self.path} holds stored embeddings and can embed no image")

    def embed_data(self, data: dataset.DataSet, shards: Sequence[dataset.Shard] | None = None):
        """Yields (embeddings, batch) over the records in stored order, by their ids."""
        paths = data.files(shards)
        records = tf.data.TFRecordDataset(paths)
        with unreadable.named(data, shards):
            for batch in records.batch(BATCH_SIZE).map(data.parse):
                names = dataset.ids_of(batch)
                found = self.found(names, f" of {data.folder}")
                yield self.checked(found, batch), batch

    def of_ids(self, ids: Sequence[str]) -> np.ndarray:
        """Returns the embeddings [n, dims] of items by their ids; raises where one is missing."""
        found = self.found(ids)
        finite = np.isfinite(found).all(axis=1)
        if not finite.all() and not self.lets_fail:
            first_bad = int(np.argmin(finite))
            raise InputError(f"{self.path} has no finite embedding for {ids[first_bad]}")
        return found

    def found(self, ids: Sequence[str], whose: str = "") -> np.ndarray:
        """Returns the embeddings [n, dims] with these ids.

        One that is missing is not a number where images may fail, and an error else.

        Args:
            ids: The ids.
            whose: What an error says after one of them.
        """
        found = np.full((len(ids), self.dims), np.nan, np.float32)
        for place, name in enumerate(ids):
            if name in self.row_of:
                found[place] = self.embeddings[self.row_of[name]]
            elif not self.lets_fail:
                raise InputError(f"{self.path} has no embedding for {name}{whose}")
        return found


def check_labels(labels: np.ndarray, count: int, path: Path) -> None:
    """Raises where labels are not one number or name for each of `count` items."""
    if labels.shape != (count,) or labels.dtype.kind not in "iuUS":
        raise InputError(f"{path}: `labels` has to be [n] whole numbers or names, one for each id")
