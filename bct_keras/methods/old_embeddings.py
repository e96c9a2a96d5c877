"""Holds old embeddings as arrays."""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras.errors import InputError
from bct_keras.methods import class_features
from bct_keras.methods.class_blocks import Block, blocks, in_order_of_classes
from bct_keras.methods.old_source import Classifier, OldSource

IMAGES_AT_ONCE = 256


class OldEmbeddings(OldSource):
    """Holds the embeddings that the old encoder gave for the images to train on, as arrays.

    Args:
        old_embeddings: [n, old dims], as the encoder gave them.
        labels: [n] whole numbers from 0 on, the classes of the head.
        classifier: The class weights [old classes, old dims] of the old encoder's head, or these
            and its bias [old classes] as a pair. The method `lwf` needs it, and no other.

    Example:
        >>> old = OldEmbeddings(np.eye(4, 8), labels=[0, 0, 1, 1])
        >>> images = tf.data.Dataset.from_tensor_slices((np.zeros((4, 32, 32, 3)), [0, 0, 1, 1]))
        >>> batch, labels = next(iter(old.with_images(images).batch(2)))
        >>> batch["old_embedding"].shape
        TensorShape([2, 8])
    """

    def __init__(self, old_embeddings: Any, labels: Any, classifier: Any = None):
        self.embeddings = checked_embeddings(old_embeddings)
        count, self.dims = self.embeddings.shape
        self.labels = checked_labels(labels, count)
        self.classes = int(self.labels.max()) + 1
        self._classifier: Classifier | None = None
        if classifier is not None:
            self._classifier = checked_classifier(classifier, self.dims)
        self.images: tf.data.Dataset | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def fields(self) -> dict[str, np.ndarray]:
        """Is what methods read from a batch, by name.

        That is `old_embedding` [n, dims], and which rows are credible [n]. Arrays can go to `fit`
        with them: `fit({"image": images, **old.fields}, labels)`.
        """
        norms = {
            "rows": None,
            "rows_then_columns": class_features.column_norms([self.embeddings]),
        }
        found = {"old_embedding": self.embeddings}
        for kind, field in class_features.CREDIBLE.items():
            found[field] = self.credible(norms[kind])
        return found

    def credible(self, column_norms: np.ndarray | None) -> np.ndarray:
        """Returns [n] float32: 1 for the embeddings that lie near the mean of their class."""
        found = np.zeros(len(self), np.float32)

        def of_block(block: Block) -> np.ndarray:
            share = class_features.CREDIBLE_SHARE
            return class_features.credible(block.embeddings[0], share, column_norms)

        for block, kept in self.map_classes(of_block, "credible embeddings"):
            found[block.records] = kept
        return found

    def with_images(self, images: Any) -> tf.data.Dataset:
        """Puts each old embedding beside its image.

        Args:
            images: A tf.data.Dataset of (image, label), one image at a time and in the order of the
                embeddings; or an array of the images alone, [n, height, width, 3]. It is shuffled,
                repeated and put into batches afterwards. A data set that does not know its own
                length is not read beyond the last embedding.

        Returns:
            ({"image", "old_embedding", ...}, label), of which `CompatibleModel.fit` takes batches.
            A label that is another one than that of the embedding beside it is an error, which
            names the row.
        """
        if not isinstance(images, tf.data.Dataset):
            images = tf.data.Dataset.from_tensor_slices(self.labelled(images))
        self.check_images(images)
        images = images.apply(tf.data.experimental.assert_cardinality(len(self)))
        self.images = images
        rows: Any = (self.fields, self.labels)
        stored = tf.data.Dataset.from_tensor_slices(rows).enumerate()

        def together(pair, row_and_stored):
            image, label = pair
            row, (fields, stored_label) = row_and_stored
            label = tf.cast(label, tf.int64)
            with tf.control_dependencies(same_label(row, label, stored_label)):
                return {"image": image, **fields}, tf.identity(label)

        return tf.data.Dataset.zip(images, stored).map(together)

    def labelled(self, images: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns an array of images with the labels of the embeddings."""
        array = np.asarray(images)
        if array.ndim != 4 or array.dtype.kind not in "uif":
            raise InputError(
                "with_images takes a tf.data.Dataset of (image, label), or an array of numbers"
                f" [n, height, width, channels]; this one is {list(array.shape)} of {array.dtype}"
            )
        if len(array) != len(self):
            raise InputError(
                f"there are {len(array):,} images and {len(self):,} old embeddings, and each needs"
                " the other"
            )
        return array, self.labels

    def check_images(self, images: tf.data.Dataset) -> None:
        """Raises where what is known of the images before one is read does not fit."""
        spec: Any = images.element_spec
        if not isinstance(spec, tuple) or len(spec) != 2:
            raise InputError("with_images takes a tf.data.Dataset of (image, label)")
        if spec[1].shape.rank != 0:
            raise InputError(
                f"the labels of the images have the shape {spec[1].shape}, and each has to be one"
                " whole number",
                "Call with_images before batch(), and give labels that are not one-hot",
            )
        count = int(images.cardinality())
        if count == tf.data.INFINITE_CARDINALITY:
            raise InputError("the images repeat without end: call with_images before repeat()")
        if count not in (tf.data.UNKNOWN_CARDINALITY, len(self)):
            raise InputError(
                f"there are {count:,} images and {len(self):,} old embeddings, and each needs the"
                " other"
            )

    def map_classes(
        self, function: Callable[[Block], Any], what: str, new: Any = None
    ) -> Iterator[tuple[Block, Any]]:
        """Yields the blocks of classes with what the function returns; no bar is shown."""
        order = in_order_of_classes(self.labels)
        read = [self.embeddings[order.rows]]
        if new is not None:
            read.append(new[order.rows])
        for block in blocks(self.labels, order.rows, order.starts, read):
            yield block, function(block)

    @contextlib.contextmanager
    def embedded(self, embed: Callable[[Any], np.ndarray]) -> Iterator[np.ndarray]:
        """Gives the new embeddings [n, dims] of the images that `with_images` took."""
        if self.images is None:
            raise InputError(
                "the images that the new encoder is to embed are not known: call"
                " old.with_images(images) before fit"
            )
        found = [embed(images) for images, _ in self.images.batch(IMAGES_AT_ONCE)]
        yield np.concatenate(found)

    def classifier(self, named: str = "") -> Classifier:
        """Returns the old head that was given with the embeddings."""
        if named:
            raise InputError(
                f"old_head={named} is a file, which the command line reads; in Python give its"
                " arrays, as OldEmbeddings(old_embeddings, labels, classifier=(class_weights,"
                " bias))"
            )
        if self._classifier is None:
            raise InputError(
                "this method needs the old encoder's head: OldEmbeddings(old_embeddings, labels, "
                "classifier=class_weights), [old classes, old dims]"
            )
        return self._classifier


def same_label(row: tf.Tensor, given: tf.Tensor, stored: tf.Tensor) -> list[Any]:
    """Returns the check that an image has the label that is stored with its old embedding."""
    said = [
        tf.strings.format(
            "row {} has the label {} with its image and {} with its old embedding",
            (row, given, stored),
        )
    ]
    check = tf.debugging.Assert(tf.equal(given, stored), said)
    return [] if check is None else [check]


def refusal(error: tf.errors.OpError) -> str | None:
    """Returns what an error says of images that are not those of the old embeddings."""
    message = error.message or ""
    found = re.search(
        r"row \d+ has the label -?\d+ with its image and \d+ with its old embedding", message
    )
    if found is not None:
        return f"{found.group()}: the images have to come in the order of the embeddings"
    found = re.search(
        r"expected to contain (\d+) elements? but contained (at least|only) (\d+)", message
    )
    if found is not None:
        wanted, how, count = found.groups()
        return (
            f"there are {wanted} old embeddings and {how} {count} images, and each needs the other"
        )
    return None


def checked_embeddings(given: Any) -> np.ndarray:
    """Returns the embeddings as float32 [n, dims]."""
    found = np.asarray(given)
    if found.ndim != 2 or not found.size or found.dtype.kind not in "biuf":
        raise InputError(
            f"old_embeddings have to be numbers, [n, dims], and these are {found.dtype}"
            f" {list(found.shape)}"
        )
    found = np.ascontiguousarray(found, np.float32)
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise InputError(
            f"the old embedding of row {bad[0]} is not a finite number, of {len(bad)} row(s) in all"
        )
    return found


def checked_labels(given: Any, count: int) -> np.ndarray:
    """Returns the labels as int64 [n]."""
    found = np.asarray(given)
    if found.shape != (count,):
        raise InputError(
            f"labels have to be [{count}], one for each old embedding, and these are"
            f" {list(found.shape)}"
        )
    if found.dtype.kind not in "iu":
        raise InputError(f"labels have to be whole numbers, and these are {found.dtype}")
    found = found.astype(np.int64)
    if found.min() < 0:
        row = int(np.argmin(found))
        raise InputError(f"labels count from 0, and row {row} has {found[row]}")
    return found


def checked_classifier(given: Any, dims: int) -> Classifier:
    """Returns the old head that a user gave as its class weights, or as these and a bias."""
    weights, bias = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    weights = np.asarray(weights)
    if weights.ndim != 2 or weights.shape[1] != dims or weights.dtype.kind not in "biuf":
        raise InputError(
            f"classifier has to be the old class weights [old classes, {dims}], or these and a bias"
            f" as a pair, and it is {weights.dtype} {list(weights.shape)}"
        )
    if bias is None:
        return Classifier(weights.astype(np.float32))
    bias = np.asarray(bias)
    if bias.shape != weights.shape[:1] or bias.dtype.kind not in "biuf":
        raise InputError(
            f"the classifier's bias has to have one number for each of {len(weights)} classes"
        )
    return Classifier(weights.astype(np.float32), bias.astype(np.float32))
