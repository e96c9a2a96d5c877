from typing import Any

import keras
import tensorflow as tf

from bct_keras.augmentations.augmentation import Augmentation, draws
from bct_keras.errors import InputError


@keras.saving.register_keras_serializable("bct_keras")
class Crop(Augmentation):
    """Cuts a square out of each image, at a place that is drawn, and brings it to the full size.

    side = 1 - u (1 - scale), as a share of the image's, with u uniform in 0..1

    Args:
        scale: The smallest side, as a share of the image's.
        seed: Of the draws; by default another one each time.
        **layer: The options of `keras.layers.Layer`.

    >>> Crop(scale=0.5, seed=0)(tf.zeros((2, 8, 8, 3)), training=True).shape
    TensorShape([2, 8, 8, 3])
    """

    def __init__(self, scale: float = 0.8, seed: int | None = None, **layer: Any):
        super().__init__(seed, **layer)
        if not 0 < scale <= 1:
            raise InputError(f"scale={scale:g} of crop has to be above 0 and at most 1")
        self.scale = scale

    def changed(self, images, seed):
        size, across, down = draws(images, 3, seed)
        side = 1.0 - (1.0 - self.scale) * (size + 1.0) / 2.0
        left = (1.0 - side) * (across + 1.0) / 2.0
        top = (1.0 - side) * (down + 1.0) / 2.0
        boxes = tf.stack([top, left, top + side, left + side], axis=1)
        rows = tf.range(tf.shape(images)[0])
        _, height, width, _ = images.shape
        return tf.image.crop_and_resize(images, boxes, rows, [height, width])

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}
