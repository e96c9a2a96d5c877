import keras

from bct_keras.heads.cosine import CosineHead


@keras.saving.register_keras_serializable("bct_keras")
class NormFace(CosineHead):
    """Takes the softmax of scaled cosines, without a margin.

    https://arxiv.org/abs/1704.06369

    Args:
        classes: The number of classes; labels are 0 to classes - 1.
        scale: The factor of the cosines.
        **shared: The options of `CosineHead`, such as `label_smoothing` and `sample_rate`.

    Returns:
        A layer that takes embeddings [batch, dims] and labels [batch], and gives losses [batch].

    >>> head = NormFace(classes=2, scale=1.0)
    >>> head.build((None, 2))
    >>> head.class_weights.assign([[1.0, 0.0], [0.0, 1.0]])  # doctest: +ELLIPSIS
    <...>
    >>> head(tf.constant([[0.0, 5.0]]), tf.constant([1])).numpy().round(3)  # log(e^0 + e^1) - 1
    array([0.313], dtype=float32)
    """

    def __init__(self, classes: int, scale: float = 64.0, **shared):
        super().__init__(classes, scale, **shared)
