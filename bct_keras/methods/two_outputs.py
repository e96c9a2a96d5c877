import keras
import numpy as np
import tensorflow as tf

from bct_keras.methods.gallerycontrast import GalleryContrast
from bct_keras.methods.method import unit
from bct_keras.methods.outputs import COMPATIBLE, copied, two_outputs


@keras.saving.register_keras_serializable("bct_keras")
class TwoOutputs(GalleryContrast):
    def __init__(
        self,
        queue: int = 8192,
        temperature: float = 0.1,
        weight: float = 4.0,
        own: float = 0.3,
        share: float = 1.0,
        rule: str = "share",
        hidden: int = 0,
        **layer,
    ):
        super().__init__(queue, temperature, weight, own, **layer)
        self.share = share
        self.rule = rule
        self.hidden = hidden

    def build(self, input_shape=None):
        super().build(input_shape)
        dims = input_shape[-1]
        self.map = keras.layers.Dense(
            self.compatible_dims,
            use_bias=False,
            kernel_initializer=keras.initializers.Orthogonal(seed=0),
            dtype="float32",
            name="map",
        )
        self.map.build((None, dims))
        if self.hidden:
            self.wide = keras.layers.Dense(
                self.hidden,
                activation="gelu",
                dtype="float32",
                name="wide",
                kernel_initializer=keras.initializers.GlorotUniform(seed=1),
            )
            self.wide.build((None, dims))
            self.narrow = keras.layers.Dense(
                self.compatible_dims,
                use_bias=False,
                kernel_initializer="zeros",
                dtype="float32",
                name="narrow",
            )
            self.narrow.build((None, self.hidden))

    def branches(self, new):
        share, rule = self.share, self.rule

        @tf.custom_gradient
        def split(e):
            def gradient(of_head, of_penalty):
                g, p = of_head, of_penalty
                if rule == "share":
                    p = share * p
                elif rule == "rows":  # no row's penalty works against its head's loss
                    dot = tf.reduce_sum(g * p, 1, keepdims=True)
                    sq = tf.reduce_sum(g * g, 1, keepdims=True)
                    p = share * (p - tf.minimum(dot, 0.0) * tf.math.divide_no_nan(g, sq))
                elif rule == "norm":  # as long as share times the head's gradient at most
                    a, b = tf.norm(g), tf.norm(p)
                    p = p * tf.minimum(1.0, share * tf.math.divide_no_nan(a, b))
                elif rule == "normrows":
                    a, b = tf.norm(g, axis=1, keepdims=True), tf.norm(p, axis=1, keepdims=True)
                    p = p * tf.minimum(1.0, share * tf.math.divide_no_nan(a, b))
                elif rule == "normproj":
                    dot = tf.reduce_sum(g * p, 1, keepdims=True)
                    sq = tf.reduce_sum(g * g, 1, keepdims=True)
                    p = p - tf.minimum(dot, 0.0) * tf.math.divide_no_nan(g, sq)
                    a, b = tf.norm(g), tf.norm(p)
                    p = p * tf.minimum(1.0, share * tf.math.divide_no_nan(a, b))
                return g + p

            return (tf.identity(e), tf.identity(e)), gradient

        return split(new)

    def compatible(self, new):
        return unit(self.mapped(unit(new)))

    def mapped(self, u):
        found = self.map(u)
        if self.hidden:
            found += self.narrow(self.wide(u * float(np.sqrt(u.shape[-1]))))
        return found

    def shipped(self, encoder):
        embedding = encoder.outputs[0]
        source = keras.layers.UnitNormalization(name="compatible_source")(embedding)
        found = copied(self.map, "compatible_map")(source)
        if self.hidden:
            scaled = keras.layers.Rescaling(float(np.sqrt(embedding.shape[-1])))(source)
            found = found + copied(self.narrow, "compatible_narrow")(
                copied(self.wide, "compatible_wide")(scaled)
            )
        return two_outputs(
            encoder, embedding, keras.layers.UnitNormalization(name=COMPATIBLE)(found)
        )

    def shipped_weights(self):
        return self.map.get_weights()
