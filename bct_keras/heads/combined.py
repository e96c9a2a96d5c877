import keras

from bct_keras.errors import InputError
from bct_keras.heads.cosine import CosineHead
from bct_keras.heads.margins import checked_angle, combine


@keras.saving.register_keras_serializable("bct_keras")
class Combined(CosineHead):
    """Combines InsightFace's three margins in one.

    https://arxiv.org/abs/1801.07698

    cos(m1 t + m2) - m3

    Args:
        classes: The number of classes; labels are 0 to classes - 1.
        margins: (m1, m2, m3): the factor of the angle, at least 1, what is added to it in radians,
            and what is subtracted from the cosine.
        scale: The factor of the cosines.
        **shared: The options of `CosineHead`, such as `gradient` and `label_smoothing`.

    Returns:
        A layer that takes embeddings [batch, dims] and labels [batch], and gives losses [batch].

    >>> head = Combined(classes=10, margins=(1.0, 0.3, 0.2))
    >>> head(tf.ones((3, 4)), tf.constant([0, 1, 2])).shape
    TensorShape([3])
    """

    def __init__(
        self,
        classes: int,
        margins: tuple = (1.0, 0.3, 0.2),
        scale: float = 64.0,
        **shared,
    ):
        super().__init__(classes, scale, **shared)
        numbers = all(isinstance(margin, int | float) for margin in margins)
        if len(margins) != 3 or not numbers or margins[0] < 1:
            raise InputError(
                f"margins={margins} of combined have to be three numbers, the first at least 1"
            )
        checked_angle(margins[1], "combined")
        self.margins = tuple(margins)

    def own_cosine(self, cosine, strength):
        factor, added, subtracted = (float(margin) for margin in self.margins)
        return combine(cosine, factor, added, subtracted)

    def get_config(self):
        return {**super().get_config(), "margins": self.margins}
