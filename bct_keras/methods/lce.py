from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from bct_keras.errors import InputError
from bct_keras.methods import perturbation
from bct_keras.methods.method import Method
from bct_keras.vectors import normalised


@keras.saving.register_keras_serializable("bct_keras")
class LCE(Method):
    """Binds the head's class weights to the old class centres, and new embeddings to their reach.

    Learning compatible embeddings, ICCV 2021, https://arxiv.org/abs/2108.01958, as released at
    github.com/IrvingMeng/LCE

    penalty_i = align * A + bound * relu(r_c - <n_i, m_c>), c the class of i
    A = mean over classes k and dimensions of (w_k / |w_k| - m_k)^2

    m_c is the mean of the normalised old embeddings of class c, at length 1, and r_c the least
    cosine of one of them to it: no new embedding has to be nearer to m_c than the farthest old
    one. w are the class weights of the head. The released code takes the product with n_i as the
    encoder gave it, cut to [-1, 1] (`cosine="released"`): that is no cosine, and a row that is cut
    is not pulled. Classes without old images are left out of both terms. The transformation of the
    paper, for an old encoder of other dimensions, is not here: its released code cannot run.

    Args:
        align: The factor of the first term.
        bound: The factor of the second.
        cosine: "unit", with n_i at length 1; or "released".
        perturb: How far centres are pushed apart where they crowd, see `perturbation.perturbed`;
            what a class reaches moves with its centre.
        neighbours: How many others push each of them.
        **layer: The options of `keras.layers.Layer`.

    >>> method = LCE(align=1.0)
    >>> old = OldEmbeddings(np.eye(2), labels=[0, 1])
    >>> method.prepare(old, Training(classes=2, compatible_dims=2))
    >>> method.build()
    >>> head = bct_keras.heads.ArcFace(classes=2)
    >>> head.build((None, 2))
    >>> head.class_weights.assign([[1.0, 0.0], [1.0, 0.0]])  # doctest: +ELLIPSIS
    <...>
    >>> new = tf.constant([[1.0, 0.0], [3.0, 0.0]])
    >>> penalty = method.penalty(new, tf.constant([0, 1]), {}, head)
    >>> penalty.numpy()  # w_1 is off by (1, -1): A = 2 / 4; and the second image by a cosine of 1
    array([0.5, 1.5], dtype=float32)
    """

    needs_whole = True
    old_centres: keras.Variable  # [classes, old dims] at length 1; zeros without old images
    old_cosines: keras.Variable  # [classes], the least one
    tuned: ClassVar = {
        "align": (10.0, 100.0, 1000.0),
        "bound": (1.0, 3.0, 10.0),
        "cosine": ("unit", "released"),
    }

    def __init__(
        self,
        align: float = 100.0,
        bound: float = 1.0,
        cosine: str = "unit",
        perturb: float = 0.0,
        neighbours: int = 10,
        **layer,
    ):
        super().__init__(**layer)
        if cosine not in ("unit", "released"):
            raise InputError(f"cosine={cosine!r} of lce has to be unit or released")
        perturbation.check(perturb, neighbours, "lce")
        self.align = align
        self.bound = bound
        self.cosine = cosine
        self.perturb = perturb
        self.neighbours = neighbours

    def constants(self, old):
        centres = normalised(old.feature("centres")).astype(np.float32)
        moved = perturbation.perturbed(centres, self.perturb, self.neighbours)
        return {
            "old_centres": self.of_classes(moved),
            "old_cosines": self.of_classes(old.feature("least_cosines")),
        }

    def penalty(self, new, labels, batch, head):
        outside = self.outside(new, labels)
        return self.align * self.alignment(labels, batch, head) + self.bound * outside

    def outside(self, new: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns [batch], what the cosine to the old centre lacks of the least old one."""
        least = tf.gather(self.old_cosines, labels)
        known = is_known(tf.gather(self.old_centres, labels))
        return known * tf.nn.relu(least - self.cosines(new, labels))

    def cosines(self, new: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns [batch], the cosines to the old centres of the own classes.

        They are what `cosine` says.
        """
        seen = new[:, : self.compatible_dims]
        if self.cosine == "unit":
            seen = self.compatible(new)
        centres = tf.gather(self.old_centres, labels)
        products = tf.reduce_sum(seen * centres, axis=1)
        return tf.clip_by_value(products, -1.0, 1.0)

    def alignment(self, labels: tf.Tensor, batch: dict[str, Any], head: Any) -> tf.Tensor:
        """Returns A, over the classes that the step sees."""
        weights, classes = seen_weights(labels, batch, head)
        centres = tf.convert_to_tensor(self.old_centres)
        if classes is not None:
            centres = tf.gather(centres, classes)
        directions = tf.math.l2_normalize(weights[:, :, : self.compatible_dims], axis=2)
        squares = tf.square(directions - centres[:, None, :])
        of_classes = tf.reduce_mean(squares, axis=[1, 2])
        known = is_known(centres)
        total = tf.reduce_sum(known * of_classes)
        return tf.math.divide_no_nan(total, tf.reduce_sum(known))


def is_known(centres: tf.Tensor) -> tf.Tensor:
    """Returns [rows] float32: 1 for the centres [rows, dims] of classes that have old images."""
    has_any = tf.reduce_any(centres != 0, axis=1)
    return tf.cast(has_any, tf.float32)


def seen_weights(
    labels: tf.Tensor, batch: dict[str, Any], head: Any
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Returns the class weights of a step [classes, centres, dims], and their classes or None."""
    if not head.trainable_class_weights:
        raise InputError(
            "lce binds the head's class weights to the old classes, and those of this head are not"
            " trained: take another head, such as arcface"
        )
    if head.table is not None and head.table.divided:
        raise InputError("lce needs the class weights of all classes together: without sharded")
    rows = batch.get("class_rows")
    if rows is None:
        rows = head.rows(labels, 0)
    weights = tf.reshape(rows.weights, (-1, head.centres, head.dims))
    return weights, rows.classes
