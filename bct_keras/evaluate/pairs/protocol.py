"""Measures LFW, CFP-FP, AgeDB-30 and their like: pairs of images, judged in ten folds.

http://vis-www.cs.umass.edu/lfw
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import tensorflow as tf

from bct_keras import progress
from bct_keras.data import image_check, images
from bct_keras.encoders.encoder import BATCH_SIZE, Encoder
from bct_keras.errors import InputError
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.pairs import folds
from bct_keras.evaluate.pairs.pair_sets import PairSet, read_bin, read_lfw
from bct_keras.evaluate.protocol import Protocol
from bct_keras.metrics import influence
from bct_keras.metrics.influence import Influence
from bct_keras.metrics.measured import Measured, rate_name, unresolved_notes
from bct_keras.metrics.verification import NOBODY, Embedded, Sides, Verification, histogram
from bct_keras.vectors import normalised

FARS = (1e-2, 1e-3)


class Pairs(Protocol):
    """Measures pairs: the first image of each is in the gallery, and the second is a query.

    An image's embedding is that of the image plus that of its mirror image, brought to length 1, as
    published.
    """

    def __init__(self, path: str, cache: EmbeddingCache | None = None):
        pair_set = read_bin(Path(path))
        self.read(pair_set, cache)

    def read(self, pair_set: PairSet, cache: EmbeddingCache | None) -> None:
        """Takes in a set of pairs, and checks its images."""
        self.pair_set = pair_set
        self.cache = cache
        self.sizes = []
        named = zip(pair_set.images, pair_set.names, strict=True)
        for image, name in progress.track(named, "checking pairs", len(pair_set.images)):
            self.sizes.append(image_check.inspect(image, name))

    def embed(self, encoder: Encoder) -> Sides:
        """Returns the queries and the gallery, one row a pair, as this encoder sees them."""
        if not encoder.image_size:
            raise InputError(
                f"{encoder.path} holds stored embeddings; a verification set needs one that embeds "
                "images"
            )
        what = {"images": self.pair_set.fingerprint, "flip": True}
        embeddings = normalised(self.embed_once(encoder, what, self.embed_images))
        first, second = self.pair_set.pairs.T
        pairs = np.arange(len(first))
        return Sides(
            query=Embedded(embeddings[second], pairs), gallery=Embedded(embeddings[first], pairs)
        )

    def embed_images(self, encoder: Encoder) -> np.ndarray:
        """Returns the embeddings of all images, mirrored ones added [images, dims]."""
        count = len(self.pair_set.images)
        starts = range(0, count, BATCH_SIZE)
        blocks = []
        for start in progress.track(starts, "embedding pairs", len(starts), "batches"):
            end = min(start + BATCH_SIZE, count)
            blocks.append(self.embed_block(encoder, range(start, end)))
        return np.concatenate(blocks)

    def embed_block(self, encoder: Encoder, numbers: range) -> np.ndarray:
        """Embeds the images with these numbers, mirrored ones added."""
        pixels = np.stack([self.decoded(number, encoder) for number in numbers])
        mirrored = np.ascontiguousarray(pixels[:, :, ::-1])
        embeddings = encoder.embed(pixels) + encoder.embed(mirrored)
        finite = np.isfinite(embeddings).all(1)
        bad = np.flatnonzero(~finite)
        if len(bad):
            name = self.pair_set.names[numbers[bad[0]]]
            raise InputError(f"{encoder.path} gives no finite embedding for {name}")
        return embeddings

    def decoded(self, number: int, encoder: Encoder) -> np.ndarray:
        """Decodes an image to the size that an encoder takes."""
        found, size = self.sizes[number], encoder.image_size
        other_size = (found.width, found.height) != (size, size)
        try:
            pixels = images.decode(
                tf.constant(self.pair_set.images[number]),
                size,
                other_size,
                encoder.preprocessing.resize,
            )
        except tf.errors.InvalidArgumentError as error:
            raise InputError(
                f"{self.pair_set.names[number]}: the image cannot be decoded ({error.message})"
            ) from None
        return pixels.numpy()

    def measure(self, query: Embedded, gallery: Embedded) -> Measured:
        """Returns accuracy and TAR over the folds."""
        scores = np.sum(query.embeddings * gallery.embeddings, axis=1)
        metrics = folds.metrics(scores, self.pair_set.same, self.pair_set.folds, FARS)

        def influences() -> dict[str, Influence]:
            return influences_of(metrics, scores, self.pair_set)

        def find_verification() -> Verification:
            return verification(scores, self.pair_set.same)

        both_kinds = 0 < np.count_nonzero(self.pair_set.same) < len(scores)
        return Measured(
            metrics,
            influences,
            units="pairs",
            find_verification=find_verification if both_kinds else None,
        )

    def counts(self) -> dict[str, int]:
        """Returns how many pairs and images it has."""
        return {"pairs": len(self.pair_set.same), "images": len(self.pair_set.images)}

    def notes(self, encoders: Collection[Encoder]) -> list[str]:
        """Says which rates the pairs are too few for."""
        impostors = folds.fewest_impostors(self.pair_set.same, self.pair_set.folds)
        return unresolved_notes("TAR@FAR", FARS, impostors, "not measured")

    def made_from(self) -> dict[str, str]:
        """Returns what decides the numbers, besides the encoders."""
        return {"data": self.pair_set.fingerprint}


def influences_of(
    metrics: Collection[str], scores: np.ndarray, pair_set: PairSet
) -> dict[str, Influence]:
    """Returns each metric's influence.

    Every pair is a unit of its own, since who they are is not known. The thresholds of the folds
    differ by little, so TAR has the influence of one threshold for all of them.
    """
    pairs = np.arange(len(scores))
    right = folds.judged_rightly(2.0 - 2.0 * scores, pair_set.same, pair_set.folds)
    found = {"accuracy": influence.of_shares(right, pairs, len(pairs))}
    for far in FARS:
        name = rate_name("TAR@FAR", far)
        if name in metrics:
            of_all_folds = verification(scores, pair_set.same)
            found[name] = influence.of_tar(of_all_folds, far)
    return found


def verification(scores: np.ndarray, same: np.ndarray) -> Verification:
    """Returns the scores of all folds together.

    Each pair counts as an identity of its own, since who they are is not known.
    """
    genuine, others = np.flatnonzero(same), np.flatnonzero(~same)
    others = others[np.argsort(-scores[others])]
    return Verification(
        genuine=scores[genuine],
        genuine_identities=genuine,
        impostors=scores[others],
        impostor_identities=np.stack([others, np.full(len(others), NOBODY)], axis=1),
        stands_for=np.ones(len(others)),
        identities=len(scores),
        impostor_pairs=float(len(others)),
        impostors_of=(~same).astype(np.int64),
        genuine_histogram=histogram(scores[genuine]),
        impostor_histogram=histogram(scores[others]),
    )


class LFW(Pairs):
    """Measures the pairs that LFW's pairs.txt names.

    The folder `images` holds the aligned images, one sub-folder per name.
    """

    def __init__(self, path: str, images: str, cache: EmbeddingCache | None = None):
        pair_set = read_lfw(Path(path), Path(images))
        self.read(pair_set, cache)
