"""Divides each identity's images into gallery and queries, and measures that search."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from bct_keras.data import dataset, image_check, unreadable
from bct_keras.data.identities import order_within_identity
from bct_keras.embed.by_shards import embeddings_by
from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.groups import IDENTITY, GroupFile, SideGroups
from bct_keras.evaluate.protocol import Protocol
from bct_keras.metrics import identification, influence
from bct_keras.metrics.collapse import Watched, watch
from bct_keras.metrics.flips import SearchedNames
from bct_keras.metrics.influence import Influence
from bct_keras.metrics.measured import Measured, is_resolvable, rate_name, unresolved_notes
from bct_keras.metrics.ranking import RECALL_RANKS
from bct_keras.metrics.refresh import SHARES, as_curve, random_order
from bct_keras.metrics.search import Searched, search
from bct_keras.metrics.search_refresh import AtShare, RefreshSearch
from bct_keras.metrics.verification import Embedded, Sides
from bct_keras.vectors import normalised

FARS = (1e-2, 1e-3, 1e-4)
FPIRS = (1e-1, 1e-2)
RANKS = (1, 5)
RECORDS_AT_ONCE = 4096


@dataclass(frozen=True)
class Division:
    """Says which images are queries and which are in the gallery."""

    query: np.ndarray  # [queries] rows of images
    gallery: np.ndarray  # [gallery] rows of images

    def sides(self, embeddings: np.ndarray, labels: np.ndarray) -> Sides:
        """Returns the queries and the gallery.

        Args:
            embeddings: [images, dims] of all images, of length 1.
            labels: [images] their identities.
        """
        query = Embedded(embeddings[self.query], labels[self.query])
        gallery = Embedded(embeddings[self.gallery], labels[self.gallery])
        return Sides(query, gallery)


def divide(labels: np.ndarray, order: np.ndarray, gallery_share: float = 0.5) -> Division:
    """Divides each identity's images into gallery and queries.

    Args:
        labels: [images] the identity of each, numbers from 0.
        order: [images] the rows in the order in which an identity's images go to the gallery first.
        gallery_share: How much of each identity's images is in the gallery, rounded up.

    Returns:
        The rows of both, in the given order.

    Example:
        >>> divide(np.array([0, 0, 0, 1, 1]), np.arange(5)).query
        array([2, 4])
    """
    images = np.bincount(labels)
    # [identities]; the small term is there because 0.07 * 100 is a bit more than 7.
    in_gallery_of = np.ceil(gallery_share * images - 1e-9)
    ordered = labels[order]
    in_gallery = order_within_identity(ordered, images) < in_gallery_of[ordered]
    return Division(query=order[~in_gallery], gallery=order[in_gallery])


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


def impostor_pairs(labels: np.ndarray, division: Division) -> int:
    """Returns how many pairs of a query and an image of the gallery are of two identities."""
    identities = int(labels.max()) + 1
    queries_of = np.bincount(labels[division.query], minlength=identities)  # [identities]
    images_of = np.bincount(labels[division.gallery], minlength=identities)  # [identities]
    all_pairs = queries_of.sum() * images_of.sum()
    genuine_pairs = queries_of @ images_of
    return int(all_pairs - genuine_pairs)


def measure(query: Embedded, gallery: Embedded) -> Measured:
    """Returns all metrics of a search in a gallery that may hold each identity several times.

    Args:
        query: Queries of every identity.
        gallery: The gallery, by the same encoder or by one that it can be searched with.
    """
    found = search(query, gallery, max(FARS))
    metrics = metrics_of(found)
    return Measured(
        metrics,
        lambda: influences_of(metrics, found),
        find_verification=lambda: found.verification,
        searches=(found.whole,),
    )


def refreshed(query: Embedded, old: Embedded, new: Embedded) -> dict[str, Any]:
    """Returns each metric at each share of an old gallery that is re-embedded, and its area."""
    images = len(old.labels)
    ends = [round(share * images) for share in SHARES]
    search = RefreshSearch(query, old, new, random_order(images), ends, max(FARS))
    return as_curve([metrics_of(found) for found in search.search()])


def metrics_of(found: Searched | AtShare) -> dict[str, float]:
    """Returns all metrics of what a search comes to."""
    metrics = found.rates(FARS, RANKS)
    metrics["mAP"] = float(found.average_precision.mean())
    metrics[f"Recall@{RECALL_RANKS}"] = float(found.recall.mean())
    for fpir in resolvable(found):
        rates = []
        for half in found.halves:
            threshold = identification.threshold_at(half, fpir)
            rates.append(identification.tpir(half, threshold))
        metrics[rate_name("TPIR@FPIR", fpir)] = float(np.mean(rates))
    return metrics


def resolvable(found: Searched | AtShare) -> list[float]:
    """Returns the rates at which enough queries of unseen identities are let in."""
    mated, unmated = [], []
    for half in found.halves:
        mated.append(int(np.count_nonzero(half.mated)))
        unmated.append(int(np.count_nonzero(~half.mated)))
    if not min(mated):
        return []
    return [fpir for fpir in FPIRS if is_resolvable(fpir, min(unmated))]


def influences_of(metrics: Collection[str], searched: Searched) -> dict[str, Influence]:
    """Returns each metric's influence; the gallery that is searched stays as it is."""
    verification = searched.verification
    count = verification.identities
    whole = searched.whole
    found = {}
    for far in FARS:
        name = rate_name("TAR@FAR", far)
        if name in metrics:
            found[name] = influence.of_tar(verification, far)
    # What each query counts in a mean over the queries
    shares = {}
    for rank in RANKS:
        shares[f"top-{rank}"] = whole.mated & (whole.others_above < rank)
    shares["mAP"] = searched.average_precision
    shares[f"Recall@{RECALL_RANKS}"] = searched.recall
    for name, values in shares.items():
        found[name] = influence.of_shares(values, whole.identities, count)
    for fpir in FPIRS:
        name = rate_name("TPIR@FPIR", fpir)
        if name in metrics:
            halves = [influence.of_tpir(half, fpir, count) for half in searched.halves]
            found[name] = influence.mean_of(halves)
    return found
