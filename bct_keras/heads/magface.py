import tensorflow as tf

from bct_keras.errors import InputError
from bct_keras.heads.cosine import CosineHead
from bct_keras.heads.margins import add_angle, checked_angle


class MagFace(CosineHead):
    """A margin that grows with the embedding's length, and a pull to longer ones: https://arxiv.org/abs/2103.06627

    cos(t + m(a)),  m(a) = m_least + (m_most - m_least) (a - a_least) / (a_most - a_least),  a = |x| held in that range
    loss + pull (1 / a + a / a_most^2)
    """

    by_length = True

    def __init__(
        self,
        classes: int,
        dims: int,
        margins: tuple = (0.45, 0.8),
        lengths: tuple = (10.0, 110.0),
        pull: float = 35.0,
        scale: float = 64.0,
        gradient: str = "exact",
        label_smoothing: float = 0.0,
        filter_above: float = 0.0,
        sample_rate: float = 1.0,
        sharded: bool = False,
    ):
        super().__init__(classes, dims, scale, gradient, label_smoothing, filter_above, sample_rate, sharded)
        numbers = all(isinstance(value, int | float) for value in (*margins, *lengths))
        if len(margins) != 2 or len(lengths) != 2 or not numbers or not 0 < lengths[0] < lengths[1]:
            raise InputError(f"margins={margins} and lengths={lengths} of magface have to be (least, most) each")
        self.least_margin, self.most_margin = (checked_angle(margin, "magface") for margin in margins)
        self.least, self.most = lengths
        self.pull = pull

    def strength(self, lengths):
        share = (tf.clip_by_value(lengths, self.least, self.most) - self.least) / (self.most - self.least)
        return self.least_margin + (self.most_margin - self.least_margin) * share

    def margin(self, cosine, strength):
        return add_angle(cosine, strength)

    def length_loss(self, lengths):
        held = tf.clip_by_value(lengths, self.least, self.most)
        return self.pull * (1.0 / held + held / self.most**2)
