from bct_keras.errors import InputError
from bct_keras.heads.cosine import CosineHead
from bct_keras.heads.margins import add_angle, checked_angle, turn


class SubcenterArcFace(CosineHead):
    """ArcFace whose classes have several centres each; the nearest one counts:

    https://www.ecva.net/papers/eccv_2020/papers_ECCV/html/1445_ECCV_2020_paper.php"""

    def __init__(
        self,
        classes: int,
        dims: int,
        centres: int = 3,
        margin: float = 0.5,
        scale: float = 64.0,
        gradient: str = "exact",
        label_smoothing: float = 0.0,
        filter_above: float = 0.0,
        sample_rate: float = 1.0,
        sharded: bool = False,
    ):
        if centres < 1:
            raise InputError(f"centres={centres} of subcenter_arcface has to be at least 1")
        super().__init__(classes, dims, scale, gradient, label_smoothing, filter_above, sample_rate, sharded, centres)
        self.added = checked_angle(margin, "subcenter_arcface")
        self.add = add_angle if gradient == "exact" else turn

    def margin(self, cosine, strength):
        return self.add(cosine, self.added)
