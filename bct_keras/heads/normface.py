from bct_keras.heads.cosine import CosineHead


class NormFace(CosineHead):
    """Softmax of scaled cosines, without margin: https://arxiv.org/abs/1704.06369"""

    def __init__(
        self,
        classes: int,
        dims: int,
        scale: float = 64.0,
        label_smoothing: float = 0.0,
        filter_above: float = 0.0,
        sample_rate: float = 1.0,
        sharded: bool = False,
    ):
        super().__init__(classes, dims, scale, "exact", label_smoothing, filter_above, sample_rate, sharded)
