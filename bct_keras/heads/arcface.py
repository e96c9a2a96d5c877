from bct_keras.heads.cosine import CosineHead
from bct_keras.heads.margins import add_angle, checked_angle, turn


class ArcFace(CosineHead):
    """An angle added to that between an embedding and its class: https://arxiv.org/abs/1801.07698"""

    def __init__(
        self,
        classes: int,
        dims: int,
        margin: float = 0.5,
        scale: float = 64.0,
        gradient: str = "exact",
        label_smoothing: float = 0.0,
        filter_above: float = 0.0,
        sample_rate: float = 1.0,
        sharded: bool = False,
    ):
        super().__init__(classes, dims, scale, gradient, label_smoothing, filter_above, sample_rate, sharded)
        self.added = checked_angle(margin, "arcface")
        # Each as its released code: InsightFace's, which passes the gradient through, lets the cosine rise past pi.
        self.add = add_angle if gradient == "exact" else turn

    def margin(self, cosine, strength):
        return self.add(cosine, self.added)
