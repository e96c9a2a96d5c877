import keras
import tensorflow as tf

from bct_keras.errors import InputError
from bct_keras.heads.cosine import CosineHead
from bct_keras.heads.margins import add_angle, checked_angle


@keras.saving.register_keras_serializable("bct_keras")
class MagFace(CosineHead):
    """Lets the margin grow with an embedding's length, and pulls to longer ones.

    https://arxiv.org/abs/2103.06627

    cos(t + m(a)),  m(a) = m_least + (m_most - m_least) (a - a_least) / (a_most - a_least)
    loss + pull (1 / a + a / a_most^2),  a = |x| held between a_least and a_most

    Args:
        classes: The number of classes; labels are 0 to classes - 1.
        margins: (m_least, m_most): the angles in radians for the shortest and longest embeddings.
        lengths: (a_least, a_most): the range of lengths.
        pull: The weight of the pull to longer embeddings.
        scale: The factor of the cosines.
        **shared: The options of `CosineHead`, such as `gradient` and `label_smoothing`.

    Returns:
        A layer that takes embeddings [batch, dims] and labels [batch], and gives losses [batch].

    >>> head = MagFace(classes=10)
    >>> head.strength(tf.constant([10.0, 60.0, 110.0])).numpy().round(3)
    array([0.45 , 0.625, 0.8  ], dtype=float32)
    """

    by_length = True

    def __init__(
        self,
        classes: int,
        margins: tuple = (0.45, 0.8),
        lengths: tuple = (10.0, 110.0),
        pull: float = 35.0,
        scale: float = 64.0,
        **shared,
    ):
        super().__init__(classes, scale, **shared)
        numbers = all(isinstance(value, int | float) for value in (*margins, *lengths))
        pairs = len(margins) == 2 and len(lengths) == 2
        if not pairs or not numbers or not 0 < lengths[0] < lengths[1]:
            raise InputError(
                f"margins={margins} and lengths={lengths} of magface have to be (least, most) each"
            )
        for margin in margins:
            checked_angle(margin, "magface")
        self.margins = tuple(margins)
        self.lengths = tuple(lengths)
        self.pull = pull

    def strength(self, lengths):
        return margin_of_length(lengths, self.margins, self.lengths)

    def own_cosine(self, cosine, strength):
        return add_angle(cosine, strength)

    def length_loss(self, lengths):
        return self.pull * shortness(lengths, self.lengths)

    def get_config(self):
        own = {"margins": self.margins, "lengths": self.lengths, "pull": self.pull}
        return {**super().get_config(), **own}


def margin_of_length(lengths: tf.Tensor, margins: tuple, bounds: tuple) -> tf.Tensor:
    """Returns m_least + (m_most - m_least) (a - a_least) / (a_most - a_least)."""
    least, most = bounds
    least_margin, most_margin = margins
    held = tf.clip_by_value(lengths, least, most)
    share = (held - least) / (most - least)
    return least_margin + (most_margin - least_margin) * share


def shortness(lengths: tf.Tensor, bounds: tuple) -> tf.Tensor:
    """Returns 1 / a + a / a_most^2, which falls up to a_most, with a held in its range."""
    least, most = bounds
    held = tf.clip_by_value(lengths, least, most)
    return 1.0 / held + held / most**2
