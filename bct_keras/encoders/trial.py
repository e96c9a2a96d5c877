"""Tells by a few hundred labelled images whether an encoder sees the pixels it was made for.

It is told before the work. A network that gets pixels of 0 to 255 in place of -1 to 1 still
answers, only badly: a MobileFaceNet has 0.67 on LFW's pairs and not 0.99. So an encoder whose file
does not say what it takes is tried with the usual preprocessings, and of any encoder it is told
where its embeddings hardly tell identities apart.

The measure is the area under the ROC curve: the chance that two images of one identity have a
higher cosine than two of different ones. 0.5 is what random embeddings have.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras.data import unreadable
from bct_keras.data.dataset import DataSet
from bct_keras.data.embeddings import field_path, normalised
from bct_keras.data.preprocessing import OWN, Preprocessing
from bct_keras.encoders.encoder import Encoder, FileEncoder, TwoOutputs
from bct_keras.untrusted.arrays import open_array

IDENTITIES, IMAGES_EACH = 64, 4
FEWEST_IDENTITIES = 5  # with less nothing is said
LOOKED_THROUGH = 20_000  # records whose labels are read
NEAR_CHANCE = 0.65
NEARLY_ONE_POINT = 0.9  # the mean cosine of different identities
CLEARLY = 3.0  # standard errors over identities
# (x - 127.5) / 127.5 differs from the second by 0.4 %, which no few hundred images can tell.
USUAL = (
    Preprocessing(),
    Preprocessing((127.5,), (128.0,)),
    Preprocessing((0.0,), (255.0,)),
    Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),  # torchvision's, of ImageNet
)


@dataclass(frozen=True)
class Separation:
    """How well cosines tell identities apart."""

    by_identity: np.ndarray  # for each identity the area that its own pairs have
    images: int
    different: float  # the mean cosine of images of different identities

    @cached_property
    def area(self) -> float:
        """Returns the mean area over identities."""
        return float(self.by_identity.mean())

    def clearly_above(self, other: "Separation") -> bool:
        """Tells whether it makes at most half of the other's errors, by more than chance."""
        gains = self.by_identity - other.by_identity  # [identities]
        standard_error = gains.std(ddof=1) / np.sqrt(len(gains))
        halves_errors = 1 - self.area <= (1 - other.area) / 2
        return halves_errors and float(gains.mean()) > CLEARLY * standard_error


def separation(embeddings: np.ndarray, labels: np.ndarray) -> Separation:
    """Measures how well cosines tell the labels apart."""
    units = normalised(embeddings)
    cosines = units @ units.T
    same = labels[:, None] == labels[None, :]
    later = np.triu(np.ones_like(same), 1)  # each pair once
    different = np.sort(cosines[~same & later])
    areas = []
    for label in np.unique(labels):
        own = cosines[same & later & (labels == label)[:, None]]
        # Of equal cosines half count as below.
        fewest = np.searchsorted(different, own, "left")
        most = np.searchsorted(different, own, "right")
        below = (fewest + most) / 2
        areas.append(below.mean() / len(different))
    return Separation(np.array(areas), len(labels), float(different.mean()))


def chosen_rows(labels: np.ndarray) -> np.ndarray:
    """Returns up to IMAGES_EACH rows of each of up to IDENTITIES labels.

    Labels with a single row are left out.
    """
    order = np.argsort(labels, kind="stable")
    starts = 1 + np.flatnonzero(np.diff(labels[order]))
    of_identity = []
    for rows in np.split(order, starts):
        if len(rows) > 1:
            of_identity.append(rows[:IMAGES_EACH])
    if len(of_identity) < FEWEST_IDENTITIES:
        return np.array([], int)
    first_seen = sorted(of_identity, key=lambda rows: int(rows[0]))
    return np.sort(np.concatenate(first_seen[:IDENTITIES]))


def told(encoder: Encoder) -> Iterator[str]:
    """Yields what is done to the pixels and who says so, where they are not simply its own."""
    preprocessing = encoder.preprocessing
    if preprocessing is not OWN:
        yield f"{encoder.spec}: {preprocessing.described()}"


def before(encoder: Encoder, data: DataSet) -> Iterator[str]:
    """Yields a warning where an encoder does clearly better on other pixels.

    It is tried only where its file does not say which pixels it takes.
    """
    if isinstance(encoder, TwoOutputs):
        encoder = encoder.whole
    if not isinstance(encoder, FileEncoder) or encoder.preprocessing.source:
        return
    images, labels = sample(data, encoder)
    if not len(labels):
        return

    def tried(preprocessing: Preprocessing) -> Separation:
        return separation(encoder.embed_as(preprocessing, images), labels)

    now = tried(encoder.preprocessing)
    best, found = best_of_usual(encoder.preprocessing, tried)
    other_order = replace(best, order="bgr" if best.order == "rgb" else "rgb")
    turned = tried(other_order)
    if turned.clearly_above(found):
        best, found = other_order, turned
    if found.clearly_above(now):
        yield (
            f"warning: {encoder.path} does not say which pixels it takes, and probably gets the "
            f"wrong ones: on {said(now)} its AUC is {now.area:.3f} with "
            f"{encoder.preprocessing.steps()}, and {found.area:.3f} with {best.steps()}\n"
            f"give it as {encoder.spec_with(best)}"
        )


def best_of_usual(
    given: Preprocessing, tried: Callable[[Preprocessing], Separation]
) -> tuple[Preprocessing, Separation]:
    """Returns the usual preprocessing that tells identities apart best, and how well it does.

    The order of colours and the way of resizing stay as they are given.
    """
    results = []
    for each in USUAL:
        preprocessing = replace(each, order=given.order, resize=given.resize)
        results.append((preprocessing, tried(preprocessing)))
    return max(results, key=lambda result: result[1].area)


def after(name: str, embeddings: np.ndarray, labels: np.ndarray) -> Iterator[str]:
    """Yields a warning where embeddings hardly tell identities apart, or nearly coincide."""
    rows = chosen_rows(labels[:LOOKED_THROUGH])
    if not len(rows):
        return
    if not np.any(np.diff(embeddings[rows], axis=0)):
        yield f"warning: {name} gives the same embedding for every image; {WHAT_TO_TRY}"
        return
    found = separation(embeddings[rows], labels[rows])
    if found.area < NEAR_CHANCE:
        yield (
            f"warning: embeddings by {name} hardly tell identities apart: an AUC of "
            f"{found.area:.3f} on {said(found)}, where chance has 0.5; {WHAT_TO_TRY}"
        )
    elif found.different > NEARLY_ONE_POINT:
        yield (
            f"warning: embeddings by {name} nearly coincide: different identities have a mean "
            f"cosine of {found.different:.3f}; {WHAT_TO_TRY}"
        )


WHAT_TO_TRY = (
    "if its pixels were to be normalised, or their channels turned, say so: mean=127.5, std=128, "
    "order=bgr"
)


def after_shards(name: str, folder: Path, data: DataSet) -> Iterator[str]:
    """Yields the same warning on the embeddings of a data set that are stored in a folder."""
    labels, embeddings = [], []
    for shard in data.shards:
        path_of_labels = field_path(folder, shard, "label")
        path_of_embeddings = field_path(folder, shard, "old_embedding")
        labels.append(open_array(path_of_labels))
        embeddings.append(open_array(path_of_embeddings))
        if sum(len(some) for some in labels) >= LOOKED_THROUGH:
            break
    yield from after(name, np.concatenate(embeddings), np.concatenate(labels))


def said(found: Separation) -> str:
    """Returns what it was measured on."""
    identities = len(found.by_identity)
    return f"{found.images} images of {identities} identities"


def sample(data: DataSet, encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Returns [images, size, size, 3] uint8 and their labels; none where there are too few."""
    paths = data.files()
    records = tf.data.TFRecordDataset(paths).take(LOOKED_THROUGH)
    parsed = records.batch(4096).map(lambda some: data.parse(some, ("label",))["label"])
    labels = np.concatenate([[], *parsed.as_numpy_iterator()]).astype(np.int64)
    rows = chosen_rows(labels)
    wanted = tf.constant(rows, tf.int64)
    taken = data.as_taken(encoder.image_size, encoder.preprocessing.resize)
    images = []
    with unreadable.named(data):
        numbered: Any = records.enumerate()
        for _, record in numbered.filter(lambda row, _: tf.reduce_any(wanted == row)):
            fields = data.parse(record[None], ("image", "label"))
            pixels = taken.decode(fields["image"][0])
            images.append(pixels.numpy())
    return np.array(images), labels[rows]
