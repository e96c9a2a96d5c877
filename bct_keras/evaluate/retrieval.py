"""Divides each identity's images into gallery and queries, and measures that search."""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from bct_keras.data import dataset, image_check, unreadable
from bct_keras.embed.by_shards import embeddings_by
from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.evaluate.division import Division, divide
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.groups import IDENTITY, GroupFile, SideGroups
from bct_keras.evaluate.protocol import Protocol
from bct_keras.evaluate.search_rates import FARS, impostor_pairs, measure, refreshed
from bct_keras.metrics.collapse import Watched, watch
from bct_keras.metrics.flips import SearchedNames
from bct_keras.metrics.measured import Measured, unresolved_notes
from bct_keras.metrics.verification import Embedded, Sides
from bct_keras.vectors import normalised

RECORDS_AT_ONCE = 4096


class Divided(Protocol):
    """Measures images with labels, divided into gallery and queries.

    Some images of each identity are in the gallery, and the others are queries.
    """

    labels: np.ndarray  # [images] numbers from 0
    division: Division

    def __init__(self) -> None:
        self.watched: dict[str, Watched] = {}
        self.failed: dict[str, np.ndarray] = {}  # rows without an embedding, by encoder

    def sides_of(self, encoder: Encoder, embeddings: np.ndarray) -> Sides:
        """Returns both sides of what an encoder gives, and watches for a collapse.

        An image that could not be embedded, where those are let through, gets nothing but zeros:
        it is nobody's, and a miss.

        Args:
            encoder: What has embedded the images.
            embeddings: [images, dims] of all images.
        """
        good = np.isfinite(embeddings).all(axis=1)
        if not (good.all() or encoder.lets_fail):
            bad = np.count_nonzero(~good)
            raise InputError(f"{encoder.spec} gives no finite embedding for {bad:,} of the images")
        if not good.any():
            raise InputError(f"{encoder.spec} could embed none of the images")
        self.watched[str(encoder.path)] = watch(embeddings[good], self.labels[good])
        units = normalised(embeddings)
        if not good.all():
            self.failed[encoder.spec] = np.flatnonzero(~good)
            units[~good] = 0.0
        return self.division.sides(units, self.labels)

    def names_of_images(self, by: str) -> list[str]:
        """Returns the id of each image, or the name of its identity, as `by` says [images]."""
        raise InputError(f"these images have no {by} that a file of groups could name")

    def side_groups(self, groups: GroupFile) -> SideGroups:
        """Returns the groups of queries and gallery."""
        of_images = groups.groups_of(self.names_of_images(groups.by))
        return SideGroups(of_images[self.division.query], of_images[self.division.gallery])

    def measure(self, query: Embedded, gallery: Embedded) -> Measured:
        """Returns all metrics."""
        return measure(query, gallery)

    def refreshed(self, query: Embedded, old: Embedded, new: Embedded) -> dict[str, Any]:
        """Returns each metric while the gallery is re-embedded, compared once with each entry."""
        return refreshed(query, old, new)

    def counts(self) -> dict[str, int]:
        """Returns how many identities and images it has, and which of these are queries."""
        return {
            "identities": len(np.unique(self.labels)),
            "images": len(self.labels),
            "queries": len(self.division.query),
            "images in the gallery": len(self.division.gallery),
        }

    def searched(self, sides: Sides) -> Sides:
        """Returns both sides: every query is searched in the whole gallery."""
        return sides

    def notes(self, encoders: Collection[Encoder]) -> list[str]:
        """Tells of encoders that collapsed, and which rates the images are too few for."""
        found = []
        paths = [str(encoder.path) for encoder in encoders]
        for path in dict.fromkeys(paths):  # each once
            seen = self.watched.get(path)
            if seen and seen.collapsed:
                found.append(f"warning: {path} seems to have collapsed: {seen.sentence}")
        for encoder in encoders:
            rows = self.failed.get(encoder.spec)
            if rows is not None:
                found.append(
                    f"{len(rows):,} of {len(self.labels):,} images could not be embedded by "
                    f"{encoder.spec} and count as misses: their cosine with every other one is "
                    "taken as -1"
                )
        impostors = impostor_pairs(self.labels, self.division)
        found += unresolved_notes("TAR@FAR", FARS, impostors, "not measured")
        return found


class Retrieval(Divided):
    """Measures the images of a data set.

    The first half of each identity's images, by their ids, is the gallery.
    """

    data: dataset.DataSet

    def __init__(self, data: str, cache: EmbeddingCache | None = None):
        super().__init__()
        self.data = dataset.open_data_set(data)
        self.data.check_content()
        self.cache = cache
        self.ids, self.labels = self.read_records()
        self.division = divide(self.labels, order=np.argsort(self.ids, kind="stable"))
        if not len(self.division.query):
            raise InputError(
                f"{self.data.folder}: every identity has one image; a query needs a second one"
            )

    def read_records(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ids and the labels of all images, in stored order [images]."""
        ids, labels = [], []
        with unreadable.named(self.data):
            for batch in self.batches():
                ids += dataset.ids_of(batch)
                labels.append(batch["label"].numpy())
        return np.array(ids), self.data.checked_labels(labels)

    def batches(self) -> Iterator[dict[str, tf.Tensor]]:
        """Yields the ids, labels and images of all records."""
        paths = self.data.files()
        records = tf.data.TFRecordDataset(paths)
        for serialized in records.batch(RECORDS_AT_ONCE):
            yield self.data.parse(serialized)

    def embed(self, encoder: Encoder) -> Sides:
        """Returns the queries and the gallery, as this encoder sees them."""
        images = {"data": self.data.fingerprint}
        if encoder.lets_fail:  # what is kept then may have rows that are not numbers
            images["failures"] = "count"
        embeddings = self.embed_once(encoder, images, self.embed_images)
        return self.sides_of(encoder, embeddings)

    def embed_images(self, encoder: Encoder) -> np.ndarray:
        """Returns the embeddings of all images, in stored order [images, dims]."""
        if self.cache and self.cache.engine:
            return embeddings_by(self.cache.engine, encoder, self.data, self.cache.folder)
        found = []
        for embeddings, _ in encoder.embed_data(self.data):
            found.append(embeddings)
        return np.concatenate(found)

    def searched_names(self) -> list[SearchedNames]:
        """Returns the ids of queries and gallery."""
        query = self.ids[self.division.query]
        gallery = self.ids[self.division.gallery]
        return [SearchedNames(query.tolist(), gallery.tolist())]

    def names_of_images(self, by: str) -> list[str]:
        """Returns the id of each image, or the name of its identity, as `by` says [images]."""
        if by == IDENTITY:
            names = self.data.identity_names
            if names is None:  # they are called by their numbers
                names = [str(label) for label in range(self.data.classes)]
            return [names[label] for label in self.labels]
        return self.ids.tolist()

    def pictures(self, names: Collection[str]) -> dict[str, Image.Image]:
        """Returns the images with these ids."""
        found = {}
        for batch in self.batches():
            for name, image in zip(dataset.ids_of(batch), batch["image"].numpy(), strict=True):
                if name in names:
                    found[name] = image_check.decode(image, name)
        return found

    def made_from(self) -> dict[str, str]:
        """Returns what decides the numbers, besides the encoders."""
        return {"data": self.data.fingerprint}
