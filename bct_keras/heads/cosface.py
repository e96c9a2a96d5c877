import keras

from bct_keras.heads.cosine import CosineHead


@keras.saving.register_keras_serializable("bct_keras")
class CosFace(CosineHead):
    """Subtracts a margin from the cosine, which leaves its gradient as it was.

    https://arxiv.org/abs/1801.09414

    Args:
        classes: The number of classes; labels are 0 to classes - 1.
        margin: What is subtracted from the cosine to an embedding's own class.
        scale: The factor of the cosines.
        **shared: The options of `CosineHead`, such as `label_smoothing` and `sample_rate`.

    Returns:
        A layer that takes embeddings [batch, dims] and labels [batch], and gives losses [batch].

    >>> head = CosFace(classes=10, margin=0.35)
    >>> head(tf.ones((3, 4)), tf.constant([0, 1, 2])).shape
    TensorShape([3])
    """

    def __init__(self, classes: int, margin: float = 0.4, scale: float = 64.0, **shared):
        super().__init__(classes, scale, **shared)
        self.margin = margin

    def own_cosine(self, cosine, strength):
        return cosine - self.margin

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}
