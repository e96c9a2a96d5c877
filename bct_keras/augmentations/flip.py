import keras
import tensorflow as tf

from bct_keras.augmentations.augmentation import Augmentation, draws


@keras.saving.register_keras_serializable("bct_keras")
class Flip(Augmentation):
    """Mirrors half of the images, left for right; not for letters and others that have a side.

    Args:
        seed: Of the draws; by default another one each time.
        **layer: The options of `keras.layers.Layer`.

    >>> images = tf.constant([[[[1.0], [2.0]]]] * 4)  # four of one row of two pixels
    >>> Flip(seed=0)(images, training=True).numpy()[:, 0, 0, 0]  # the left pixel of each
    array([2., 2., 1., 1.], dtype=float32)
    """

    def changed(self, images, seed):
        (side,) = draws(images, 1, seed)
        return tf.where(side[:, None, None, None] < 0, tf.reverse(images, [2]), images)
