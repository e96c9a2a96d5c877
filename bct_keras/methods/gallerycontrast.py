from typing import ClassVar, NamedTuple

import keras
import tensorflow as tf

from bct_keras.distribution import replicas
from bct_keras.errors import InputError
from bct_keras.methods.method import unit
from bct_keras.methods.queue import QueueMethod


@keras.saving.register_keras_serializable("bct_keras")
class GalleryContrast(QueueMethod):
    """Trains the search itself: each new embedding has to find its class in a small old gallery.

    Q is a queue of old embeddings, and s_ij = exp(<n_i, o_j> / t):

    penalty_i = -weight (own log p_i + (1 - own) mean over j in Q of i's class of log p_j)
    p_j = s_ij / (s_ij + sum over k in Q of other classes of s_ik + r_i)
    r_i = sum over k in the batch of other classes of exp(<n_i, n_k> / t)

    p_i is that of the image's own old embedding, which alone would draw the old encoder's errors
    along; its class as a whole leaves more freedom. It is in the queue itself, so the queue has to
    hold several images a class for that. Images of its class are no rivals of each other. The
    README's tables tell what it gains.

    The new embeddings of the batch are rivals too (r), for the sake of images that can hardly be
    recognised, such as those of hats. Against old embeddings alone they do best where there are
    none, and an old encoder that fills few of its dimensions leaves much such room: there they
    gather, whatever their class, until a share of all images looks alike.

    The own-image term is that of `HOC`, https://arxiv.org/abs/2405.02581 (CVPR 2024,
    github.com/miccunifi/iamcl2r): -mu <n_i, o_i> + log sum over k of other classes of exp(mu <n_i,
    o_k>), with mu = 1 / t. Added here are the positive in the sum, which makes it a softplus that
    ends at 0; the queue in the place of the batch; new embeddings as rivals; and the term of the
    whole class. HOC's released
    code has the old embedding in the place of n_i, and its head is a fixed simplex.

    Args:
        queue: How many old embeddings are kept: several of each class, or `own` is all there is.
        temperature: t
        weight: The factor of the penalty.
        own: How much the image's own old embedding counts, against those of its class.
        **layer: The options of `keras.layers.Layer`.

    >>> method = GalleryContrast(queue=2, temperature=1.0, weight=1.0)
    >>> method.prepare(None, Training(classes=2, compatible_dims=2))
    >>> method.build()
    >>> batch = {"old_embedding": tf.eye(2)}
    >>> penalty = method.penalty(tf.eye(2), tf.constant([0, 1]), batch, None)
    >>> penalty.numpy().round(3)  # log(1 + 2 e^-1): the two rivals' product is 0, the own one's 1
    array([0.551, 0.551], dtype=float32)
    """

    tuned: ClassVar = {
        "weight": (1.0, 2.0, 4.0, 8.0),
        "own": (0.1, 0.3, 0.5),
        "temperature": (0.05, 0.1, 0.2),
    }

    def __init__(
        self,
        queue: int = 8192,
        temperature: float = 0.1,
        weight: float = 4.0,
        own: float = 0.3,
        **layer,
    ):
        super().__init__(queue, temperature, **layer)
        if not 0 <= own <= 1:
            raise InputError(f"own={own:g} of gallerycontrast has to be between 0 and 1")
        self.weight = weight
        self.own = own

    def penalty(self, new, labels, batch, head):
        new = self.compatible(new)
        old = unit(batch["old_embedding"])
        self.push((self.old_queue, old), (self.labels_queue, labels))
        loss = gallery_contrast(
            Labelled(new, labels),
            old,
            Labelled(tf.convert_to_tensor(self.old_queue), tf.convert_to_tensor(self.labels_queue)),
            beside=Labelled(replicas.gather_rows(new), replicas.gather_rows(labels)),
            temperature=self.temperature,
            own=self.own,
        )
        return self.weight * loss


class Labelled(NamedTuple):
    """Embeddings of length 1 with their classes."""

    embeddings: tf.Tensor  # [rows, dims]
    labels: tf.Tensor  # [rows]; -1 is a place of a queue that is not yet filled


def gallery_contrast(
    new: Labelled,
    old: tf.Tensor,
    gallery: Labelled,
    *,
    temperature: float,
    own: float,
    beside: Labelled | None = None,
) -> tf.Tensor:
    """Returns the loss of `GalleryContrast` for each row [batch], before its weight.

    Args:
        new: What searches.
        old: [batch, dims], the old embedding of the same image, of length 1.
        gallery: The old embeddings to search in.
        temperature: t
        own: How much the image's own old embedding counts, against those of its class.
        beside: What searches beside it: rivals where they are of another class.

    Example:
        >>> new = Labelled(tf.eye(2), tf.constant([0, 1]))
        >>> loss = gallery_contrast(new, new.embeddings, new, temperature=1.0, own=0.3)
        >>> loss.numpy().round(3)  # log(1 + e^-1): there is one rival
        array([0.313, 0.313], dtype=float32)
    """
    # <n_i, o_j> / t, and s, the logarithm of the sum over the rivals
    products = tf.matmul(new.embeddings, gallery.embeddings, transpose_b=True) / temperature
    of_rivals = [only_rivals(products, new, gallery)]
    if beside is not None:
        of_new = tf.matmul(new.embeddings, beside.embeddings, transpose_b=True) / temperature
        of_rivals.append(only_rivals(of_new, new, beside))
    rivals = tf.reduce_logsumexp(tf.concat(of_rivals, axis=1), axis=1, keepdims=True)
    own_product = tf.reduce_sum(new.embeddings * old, axis=1, keepdims=True) / temperature
    # -log p_j = log(1 + exp(s - <n_i, o_j> / t))
    of_own = tf.math.softplus(rivals - own_product)[:, 0]
    of_each = tf.math.softplus(rivals - products)
    of_class = mean_where(new.labels[:, None] == gallery.labels[None, :], of_each)
    return own * of_own + (1.0 - own) * of_class


def only_rivals(products: tf.Tensor, new: Labelled, others: Labelled) -> tf.Tensor:
    """Returns the products [batch, rows] with others of other classes, and -1e9 for the rest."""
    same_class = new.labels[:, None] == others.labels[None, :]
    no_rival = same_class | (others.labels[None, :] < 0)
    return tf.where(no_rival, -1e9, products)


def mean_where(chosen: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Returns the mean [batch] of the values [batch, queue] that are chosen; 0 where none is."""
    ones = tf.cast(chosen, tf.float32)
    total = tf.reduce_sum(ones * values, axis=1)
    count = tf.reduce_sum(ones, axis=1)
    return tf.math.divide_no_nan(total, count)
