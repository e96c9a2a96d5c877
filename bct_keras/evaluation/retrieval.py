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
from bct_keras.evaluation import identification
from bct_keras.evaluation.embedding_cache import EmbeddingCache
from bct_keras.evaluation.measured import Measured, rate_name
from bct_keras.evaluation.search import RECALL_RANKS, Searched, search
from bct_keras.evaluation.verification import Embedded, identity_weights

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
        embeddings, labels = normalised(stored), self.records[1]
        query, gallery = (Embedded(embeddings[rows], labels[rows]) for rows in self.sides)
        return query, gallery

    def measure(self, query: Embedded, gallery: Embedded) -> Measured:
        found = search(query, gallery, max(FARS))
        metrics = found.rates(FARS, RANKS)
        metrics |= {"mAP": float(found.average_precision.mean()), f"Recall@{RECALL_RANKS}": float(found.recall.mean())}
        for fpir in resolvable(found):
            rates = [identification.tpir(half, identification.threshold_at(half, fpir)) for half in found.halves]
            metrics[rate_name("TPIR@FPIR", fpir)] = float(np.mean(rates))
        return Measured(
            metrics,
            lambda draws, seed: resample(found, draws, seed),
            find_verification=lambda: found.verification,
            searches=(found.whole,),
        )

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

    def made_from(self) -> dict[str, str]:
        return {"data": self.data.fingerprint}


def resolvable(found: Searched) -> list[float]:
    """Rates at which ten queries of unseen identities are let in; with fewer the threshold would be chance."""
    unmated = min(np.count_nonzero(~half.mated) for half in found.halves)
    mated = min(np.count_nonzero(half.mated) for half in found.halves)
    return [fpir for fpir in FPIRS if fpir * unmated >= 10 and mated]


def resample(found: Searched, draws: int, seed: int) -> dict[str, np.ndarray]:
    """Metrics [draws]: identities are drawn anew, the gallery that is searched stays as it is."""
    weights = identity_weights(found.verification.identities, draws, seed)
    fars = [far for far in FARS if far * found.impostor_pairs >= 1]
    fpirs = resolvable(found)

    def share(values: np.ndarray) -> np.ndarray:
        return identification.weighted_share(values, found.whole.identities, weights)

    tars = found.verification.tar(weights, fars)
    metrics = {rate_name("TAR@FAR", far): tars[:, place] for place, far in enumerate(fars)}
    metrics |= {f"top-{rank}": share(found.whole.mated & (found.whole.others_above < rank)) for rank in RANKS}
    metrics |= {"mAP": share(found.average_precision), f"Recall@{RECALL_RANKS}": share(found.recall)}
    if fpirs:
        rates = np.mean([identification.weighted_tpir(half, weights, fpirs) for half in found.halves], axis=0)
        metrics |= {rate_name("TPIR@FPIR", fpir): rates[:, place] for place, fpir in enumerate(fpirs)}
    return metrics
