from typing import ClassVar

import keras
import tensorflow as tf

from bct_keras.distribution import replicas
from bct_keras.errors import InputError
from bct_keras.heads.head import Swapped
from bct_keras.methods.class_features import CREDIBLE
from bct_keras.methods.method import Method, unit, widened


@keras.saving.register_keras_serializable("bct_keras")
class MixBCT(Method):
    """Mixes old embeddings into the batch before the head.

    https://arxiv.org/abs/2308.06948

    x_i = old_i / |old_i|   for floor(mix_ratio B) random rows i that are credible
    x_i = new_i             for the others

    credible="rows" measures how far an old embedding lies from its class mean as the paper does,
    and "rows_then_columns" as its released code. Where the new embedding is wider, the old one
    stands in its first coordinates and the others are 0.

    For `adaface` and `magface`, whose margin goes by the embedding's length, a mixed row has that
    of the new embedding of the same image, without a gradient: its own length of 1 says nothing of
    the image. So AdaFace's running mean and deviation are those of new embeddings alone, and
    MagFace's pull on the length leaves mixed rows out.

    Args:
        mix_ratio: The share of the batch that is mixed in.
        credible: "rows" or "rows_then_columns".
        seed: Of the rows that are drawn.
        **layer: The options of `keras.layers.Layer`.

    >>> method = MixBCT(mix_ratio=0.5)
    >>> credible = tf.constant([1.0, 0.0, 1.0, 0.0])
    >>> batch = {"old_embedding": tf.ones((4, 1)), "credible": credible, "step": 0}
    >>> mixed = method.head_input(tf.zeros((4, 1)), batch)
    >>> mixed.numpy()[:, 0]  # two of four rows, and two are credible
    array([1., 0., 1., 0.], dtype=float32)
    """

    tuned: ClassVar = {
        "mix_ratio": (0.2, 0.3, 0.4, 0.5, 0.6),
        "credible": ("rows", "rows_then_columns"),
    }

    def __init__(self, mix_ratio: float = 0.3, credible: str = "rows", seed: int = 0, **layer):
        super().__init__(**layer)
        if credible not in CREDIBLE:
            raise InputError(
                f"credible={credible!r} of mixbct has to be one of {', '.join(CREDIBLE)}"
            )
        if not 0 <= mix_ratio <= 1:
            raise InputError(f"mix_ratio={mix_ratio} has to be between 0 and 1")
        self.needs = ("old_embedding", CREDIBLE[credible])
        self.credible = credible
        self.mix_ratio = mix_ratio
        self.seed = seed
        self.mixed = keras.metrics.Mean(name="mixed_rows")

    def head_input(self, new, batch):
        chosen = self.chosen(batch)
        ones = tf.cast(chosen, tf.float32)
        self.mixed.update_state(tf.reduce_sum(ones))
        rows = tf.shape(new)[0]
        mine = replicas.own_rows(chosen, rows)
        old = unit(batch["old_embedding"])
        return tf.where(mine[:, None], widened(old, new), new)

    def swapped(self, new, batch):
        # The same rows again: what is drawn depends on the seed and the step alone.
        chosen = self.chosen(batch)
        mine = replicas.own_rows(chosen, tf.shape(new)[0])
        lengths = tf.norm(new, axis=1)
        return Swapped(mine, lengths)

    def chosen(self, batch) -> tf.Tensor:
        """Returns [global batch] bool: drawn over it, and alike whatever the number of replicas."""
        _, field = self.needs
        credible = replicas.gather_rows(batch[field])
        seed = tf.cast(self.seed, tf.int64)
        step = tf.cast(batch["step"], tf.int64)
        return draw(credible, self.mix_ratio, tf.stack([seed, step]))


def draw(credible: tf.Tensor, mix_ratio: float, seed: tf.Tensor) -> tf.Tensor:
    """Returns [batch] bool: floor(mix_ratio * batch) of the credible rows, or all of them."""
    rows = tf.shape(credible)[0]
    # The small term keeps 0.29 * 100, which is 28.999..., from becoming 28.
    share = mix_ratio * tf.cast(rows, tf.float64)
    wanted = tf.cast(tf.floor(share + 1e-9), tf.int32)
    # Named, since XLA and GPUs would choose another algorithm, and so other rows.
    noise = tf.random.stateless_uniform(tf.shape(credible), seed, alg="philox")
    is_credible = credible > 0
    order = tf.argsort(tf.where(is_credible, noise, 2.0))
    rank = tf.scatter_nd(order[:, None], tf.range(rows), [rows])
    return (rank < wanted) & is_credible
