from bct_keras.errors import InputError
from bct_keras.heads.cosine import CosineHead
from bct_keras.heads.margins import checked_angle, combine


class Combined(CosineHead):
    """cos(m1 t + m2) - m3, InsightFace's three margins (m1, m2, m3) in one: https://arxiv.org/abs/1801.07698"""

    def __init__(
        self,
        classes: int,
        dims: int,
        margins: tuple = (1.0, 0.3, 0.2),
        scale: float = 64.0,
        gradient: str = "exact",
        label_smoothing: float = 0.0,
        filter_above: float = 0.0,
        sample_rate: float = 1.0,
        sharded: bool = False,
    ):
        super().__init__(classes, dims, scale, gradient, label_smoothing, filter_above, sample_rate, sharded)
        if len(margins) != 3 or not all(isinstance(margin, int | float) for margin in margins) or margins[0] < 1:
            raise InputError(f"margins={margins} of combined have to be three numbers, the first at least 1")
        checked_angle(margins[1], "combined")
        self.margins = margins

    def margin(self, cosine, strength):
        return combine(cosine, *map(float, self.margins))
