from typing import Any, ClassVar

import keras
import tensorflow as tf

from bct_keras.distribution.replicas import sum_rows
from bct_keras.errors import InputError
from bct_keras.methods.gallerycontrast import GalleryContrast
from bct_keras.methods.method import unit
from bct_keras.methods.outputs import COMPATIBLE, copied, two_outputs


@keras.saving.register_keras_serializable("bct_keras")
class TwoOutputs(GalleryContrast):
    """Leaves the embedding to the head, and lets a map of it be compatible with the old ones.

    c = unit(M unit(e)), with M a matrix that starts orthogonal

    e is the new encoder's `embedding`, for new entries, and c its `embedding_compatible`, which
    the old gallery is searched with. GalleryContrast's penalty acts on c alone. Of its gradient at
    e, p, so much reaches the backbone that it is never long beside the head's, g:

    g + p min(1, share |g| / |p|), with the lengths taken over the batch

    So the head leads however strong the pull of the old embeddings is, and M gets all of it. A
    fixed share of p would have to fit the old encoder: on the demo 0.1 of it is best and on
    Omniglot 1.

    Args:
        queue: How many old embeddings are kept: several of each class, or `own` is all there is.
        temperature: t of GalleryContrast.
        weight: The factor of the penalty, of which M's steps depend.
        own: How much the image's own old embedding counts, against those of its class.
        share: How long the penalty's gradient may be, against the head's. 0 trains M alone, as an
            adapter is fitted.
        **layer: The options of `keras.layers.Layer`.

    >>> method = TwoOutputs(queue=2, temperature=1.0, weight=1.0)
    >>> method.prepare(None, Training(classes=2, compatible_dims=2))
    >>> method.build((None, 3))
    >>> method.compatible(tf.eye(3)).shape
    TensorShape([3, 2])
    """

    maps = True
    dims = 0  # of the new embedding
    tuned: ClassVar = {**GalleryContrast.tuned, "share": (0.1, 0.3, 0.5)}

    def __init__(
        self,
        queue: int = 8192,
        temperature: float = 0.1,
        weight: float = 4.0,
        own: float = 0.3,
        share: float = 0.3,
        **layer,
    ):
        super().__init__(queue, temperature, weight, own, **layer)
        if share < 0:
            raise InputError(f"share={share:g} of two_outputs has to be at least 0")
        self.share = share

    def build(self, input_shape=None):
        super().build(input_shape)
        if input_shape is not None:
            self.dims = input_shape[-1]
        if not self.dims:
            raise InputError("two_outputs has to be built with the shape of the new embeddings")
        start: Any = keras.initializers.Orthogonal(seed=0)
        self.map = keras.layers.Dense(
            self.compatible_dims,
            use_bias=False,
            kernel_initializer=start,
            dtype="float32",
            name="map",
        )
        self.map.build((None, self.dims))

    def branches(self, new):
        share = self.share

        @tf.custom_gradient
        def branched(embedding):
            def gradient(of_head, of_penalty):
                return of_head + of_penalty * at_most(share, of_head, of_penalty)

            return (tf.identity(embedding), tf.identity(embedding)), gradient

        return branched(new)

    def compatible(self, new):
        mapped = self.map(unit(new))
        return unit(mapped)

    def shipped(self, encoder):
        embedding = encoder.outputs[0]
        source = keras.layers.UnitNormalization(name="compatible_source")(embedding)
        mapped = copied(self.map, "compatible_map")(source)
        compatible = keras.layers.UnitNormalization(name=COMPATIBLE)(mapped)
        return two_outputs(encoder, embedding, compatible)

    def shipped_weights(self):
        return self.map.get_weights()

    def get_build_config(self):
        found = super().get_build_config()
        return found and {**found, "dims": self.dims}

    def build_from_config(self, config):
        self.dims = config["dims"]
        super().build_from_config(config)


def at_most(share: float, of_head: tf.Tensor, of_penalty: tf.Tensor) -> tf.Tensor:
    """Returns the factor that makes the second gradient no longer than `share` of the first.

    Their lengths are those over the rows of all replicas.

    Example:
        >>> at_most(0.5, tf.constant([[4.0, 0.0]]), tf.constant([[0.0, 8.0]])).numpy()
        0.25
    """
    squares = [tf.reduce_sum(tf.square(of_head)), tf.reduce_sum(tf.square(of_penalty))]
    head, penalty = tf.unstack(tf.sqrt(sum_rows(tf.stack(squares))))
    return tf.minimum(1.0, tf.math.divide_no_nan(share * head, penalty))
