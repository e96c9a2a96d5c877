import keras

from bct_keras.heads.cosine import CosineHead
from bct_keras.heads.margins import add_angle, checked_angle, turn


@keras.saving.register_keras_serializable("bct_keras")
class ArcFace(CosineHead):
    """Adds an angle to that between an embedding and its class.

    https://arxiv.org/abs/1801.07698

    Args:
        classes: The number of classes; labels are 0 to classes - 1.
        margin: The angle in radians, from 0 to pi.
        scale: The factor of the cosines.
        gradient: "exact", or "straight_through", which leaves the margin out of it as InsightFace
            does.
        **shared: The options of `CosineHead`, such as `label_smoothing` and `sample_rate`.

    Returns:
        A layer that takes embeddings [batch, dims] and labels [batch], and gives losses [batch].

    >>> head = ArcFace(classes=2, margin=0.5, scale=1.0)
    >>> head.build((None, 2))
    >>> head.class_weights.assign([[1.0, 0.0], [0.0, 1.0]])  # doctest: +ELLIPSIS
    <...>
    >>> embeddings, labels = tf.constant([[0.6, 0.8]]), tf.constant([1])
    >>> head(embeddings, labels).numpy().round(3)  # log(e^0.6 + e^z) - z, z = cos(acos 0.8 + 0.5)
    array([0.79], dtype=float32)
    """

    def __init__(
        self,
        classes: int,
        margin: float = 0.5,
        scale: float = 64.0,
        gradient: str = "exact",
        **shared,
    ):
        super().__init__(classes, scale, gradient=gradient, **shared)
        self.margin = checked_angle(margin, "arcface")

    def own_cosine(self, cosine, strength):
        return angular(cosine, self.margin, self.gradient)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


def angular(cosine, margin: float, gradient: str):
    """Returns cos(t + m) as the released code of that gradient has it."""
    if gradient == "exact":
        return add_angle(cosine, margin)
    # InsightFace's, which passes the gradient through, lets the cosine rise past pi.
    return turn(cosine, margin)
