"""Each identity's images divided into gallery and query."""

from collections.abc import Collection
from functools import cached_property

import numpy as np
import tensorflow as tf
from PIL import Image

from bct_keras.data import dataset, image_check, unreadable
from bct_keras.data.embeddings import normalised
from bct_keras.data.splits import order_within_identity
from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.evaluation import identification, influence
from bct_keras.evaluation.collapse import Watched, watch
from bct_keras.evaluation.embedding_cache import EmbeddingCache
from bct_keras.evaluation.influence import Influence
from bct_keras.evaluation.measured import Measured, is_resolvable, rate_name, unresolved_notes
from bct_keras.evaluation.search import RECALL_RANKS, Searched, search
from bct_keras.evaluation.verification import Embedded

FARS = (1e-2, 1e-3, 1e-4)
FPIRS = (1e-1, 1e-2)
RANKS = (1, 5)


class Retrieval:
    """The first half of an identity's images, by their ids, is the gallery and the others are queries."""

    def __init__(self, data: str, cache: EmbeddingCache | None = None):
        self.data = dataset.open_data_set(data)
        self.data.check_content()
        self.cache = cache
        self.sides = self.divided()
        self.watched: dict[str, Watched] = {}

    @cached_property
    def records(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids and labels, in stored order."""
        ids, labels = [], []
        paths = [str(shard.path) for shard in self.data.shards]
        with unreadable.named(self.data):
            for serialized in tf.data.TFRecordDataset(paths).batch(4096):
                batch = self.data.parse(serialized)
                ids += dataset.ids_of(batch)
                labels.append(batch["label"].numpy())
        return np.array(ids), self.data.checked_labels(labels)

    def divided(self) -> tuple[np.ndarray, np.ndarray]:
        """The records that are queries and those in the gallery, each in the order of their ids."""
        ids, labels = self.records
        by_id = np.argsort(ids, kind="stable")
        images = np.bincount(labels)
        in_gallery = order_within_identity(labels[by_id], images) < (images[labels[by_id]] + 1) // 2
        if in_gallery.all():
            raise InputError(f"{self.data.folder}: every identity has one image; a query needs a second one")
        return by_id[~in_gallery], by_id[in_gallery]

    def embed(self, encoder: Encoder) -> tuple[Embedded, Embedded]:
        """The queries and the gallery, as this encoder sees them."""

        def make(encoder: Encoder) -> np.ndarray:
            return np.concatenate([embeddings for embeddings, _ in encoder.embed_data(self.data)])

        stored = self.cache.get(encoder, {"data": self.data.fingerprint}, make) if self.cache else make(encoder)
        self.watched[str(encoder.path)] = watch(stored, self.records[1])
        embeddings, labels = normalised(stored), self.records[1]
        query, gallery = (Embedded(embeddings[rows], labels[rows]) for rows in self.sides)
        return query, gallery

    def measure(self, query: Embedded, gallery: Embedded) -> Measured:
        return measure(query, gallery)

    def gallery_of(self, query: Embedded, gallery: Embedded) -> tuple[Embedded, Embedded]:
        """What is searched in what."""
        return query, gallery

    def searched_names(self) -> list[tuple[list[str], list[str]]]:
        """Ids of the queries and of the gallery's images, of each search."""
        ids, _ = self.records
        query, gallery = self.sides
        return [(ids[query].tolist(), ids[gallery].tolist())]

    def pictures(self, names: Collection[str]) -> dict[str, Image.Image]:
        found = {}
        for serialized in tf.data.TFRecordDataset([str(shard.path) for shard in self.data.shards]).batch(4096):
            batch = self.data.parse(serialized)
            for name, image in zip(dataset.ids_of(batch), batch["image"].numpy(), strict=True):
                if name in names:
                    found[name] = image_check.decode(image, name)
        return found

    def notes(self) -> list[str]:
        query, gallery = (np.bincount(self.records[1][rows], minlength=self.data.classes) for rows in self.sides)
        impostors = query.sum() * gallery.sum() - query @ gallery
        collapsed = [
            f"warning: {encoder} seems to have collapsed: {seen.sentence}"
            for encoder, seen in self.watched.items()
            if seen.collapsed
        ]
        return collapsed + unresolved_notes("TAR@FAR", FARS, impostors, "not measured")

    def made_from(self) -> dict[str, str]:
        return {"data": self.data.fingerprint}


def measure(query: Embedded, gallery: Embedded) -> Measured:
    """Returns all metrics of queries of every identity in a gallery that holds each of them several times."""
    found = search(query, gallery, max(FARS))
    metrics = found.rates(FARS, RANKS)
    metrics |= {"mAP": float(found.average_precision.mean()), f"Recall@{RECALL_RANKS}": float(found.recall.mean())}
    for fpir in resolvable(found):
        rates = [identification.tpir(half, identification.threshold_at(half, fpir)) for half in found.halves]
        metrics[rate_name("TPIR@FPIR", fpir)] = float(np.mean(rates))
    return Measured(
        metrics,
        lambda: influences_of(metrics, found),
        find_verification=lambda: found.verification,
        searches=(found.whole,),
    )


def resolvable(found: Searched) -> list[float]:
    """Returns the rates at which enough queries of unseen identities are let in."""
    unmated = int(min(np.count_nonzero(~half.mated) for half in found.halves))
    mated = min(np.count_nonzero(half.mated) for half in found.halves)
    return [fpir for fpir in FPIRS if is_resolvable(fpir, unmated) and mated]


def influences_of(metrics: Collection[str], searched: Searched) -> dict[str, Influence]:
    """Returns each metric's influence; the gallery that is searched stays as it is."""
    count, whole = searched.verification.identities, searched.whole
    found = {}
    for far in FARS:
        if rate_name("TAR@FAR", far) in metrics:
            found[rate_name("TAR@FAR", far)] = influence.of_tar(searched.verification, far)
    for rank in RANKS:
        hits = whole.mated & (whole.others_above < rank)
        found[f"top-{rank}"] = influence.of_shares(hits, whole.identities, count)
    found["mAP"] = influence.of_shares(searched.average_precision, whole.identities, count)
    found[f"Recall@{RECALL_RANKS}"] = influence.of_shares(searched.recall, whole.identities, count)
    for fpir in FPIRS:
        if rate_name("TPIR@FPIR", fpir) in metrics:
            halves = [influence.of_tpir(half, fpir, count) for half in searched.halves]
            found[rate_name("TPIR@FPIR", fpir)] = influence.mean_of(halves)
    return found
