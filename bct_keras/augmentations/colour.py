from typing import Any

import keras
import tensorflow as tf

from bct_keras.augmentations.augmentation import Augmentation, draws
from bct_keras.errors import InputError

GREY = (0.299, 0.587, 0.114)  # how much of the brightness each colour is (ITU-R BT.601)


@keras.saving.register_keras_serializable("bct_keras")
class Colour(Augmentation):
    """Changes brightness, contrast and saturation of each image, each by a factor that is drawn.

    x' = b (m + c (g + s (x - g) - m)), held within 0..255

    with g the grey of the pixel, m the mean grey of the image, and b, c, s uniform in
    1 - strength .. 1 + strength.

    Args:
        brightness: The strength of b.
        contrast: The strength of c.
        saturation: The strength of s.
        seed: Of the draws; by default another one each time.
        **layer: The options of `keras.layers.Layer`.

    >>> bright = Colour(brightness=0.5, contrast=0.0, saturation=0.0, seed=0)
    >>> found = bright(tf.fill((2, 1, 1, 3), 100.0), training=True)
    >>> found.numpy()[:, 0, 0, 0].round()  # 100 b
    array([ 93., 114.], dtype=float32)
    """

    def __init__(
        self,
        brightness: float = 0.2,
        contrast: float = 0.2,
        saturation: float = 0.2,
        seed: int | None = None,
        **layer: Any,
    ):
        super().__init__(seed, **layer)
        self.strengths = {
            "brightness": brightness,
            "contrast": contrast,
            "saturation": saturation,
        }
        for name, strength in self.strengths.items():
            if not 0 <= strength <= 1:
                raise InputError(f"{name}={strength:g} of colour has to be between 0 and 1")

    def changed(self, images, seed):
        factors = []
        for strength, drawn in zip(self.strengths.values(), draws(images, 3, seed), strict=True):
            factors.append((1.0 + strength * drawn)[:, None, None, None])
        brightness, contrast, saturation = factors
        weights = tf.constant(GREY)[:, None]
        grey = tf.tensordot(images, weights, 1)  # [batch, size, size, 1]
        mean = tf.reduce_mean(grey, axis=(1, 2), keepdims=True)
        # The formula with its factors multiplied out, so that it goes through the pixels once.
        of_grey = brightness * contrast * (1.0 - saturation)
        of_mean = brightness * (1.0 - contrast)
        changed = (brightness * contrast * saturation) * images + (of_grey * grey + of_mean * mean)
        return tf.clip_by_value(changed, 0.0, 255.0)

    def get_config(self):
        return {**super().get_config(), **self.strengths}
