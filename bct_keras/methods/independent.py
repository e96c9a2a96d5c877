import keras

from bct_keras.methods.method import Method


@keras.saving.register_keras_serializable("bct_keras")
class Independent(Method):
    """No constraint: what the new encoder reaches when nobody searches its queries in the old gallery."""
