from bct_keras.heads.cosine import CosineHead


class CosFace(CosineHead):
    """A margin subtracted from the cosine, which leaves its gradient as it was: https://arxiv.org/abs/1801.09414"""

    def __init__(
        self,
        classes: int,
        dims: int,
        margin: float = 0.4,
        scale: float = 64.0,
        label_smoothing: float = 0.0,
        filter_above: float = 0.0,
        sample_rate: float = 1.0,
        sharded: bool = False,
    ):
        super().__init__(classes, dims, scale, "exact", label_smoothing, filter_above, sample_rate, sharded)
        self.subtracted = margin

    def margin(self, cosine, strength):
        return cosine - self.subtracted
