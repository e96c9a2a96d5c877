import keras

from bct_keras.methods.method import Method


@keras.saving.register_keras_serializable("bct_keras")
class Independent(Method):
    """Adds no constraint: tells what the new encoder reaches when no old gallery binds it.

    >>> Independent().penalty(tf.zeros((2, 4)), tf.constant([0, 1]), {}, None).numpy()
    array([0., 0.], dtype=float32)
    """
