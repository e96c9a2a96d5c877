import keras

from bct_keras.errors import InputError
from bct_keras.heads.arcface import angular
from bct_keras.heads.cosine import CosineHead
from bct_keras.heads.margins import checked_angle


@keras.saving.register_keras_serializable("bct_keras")
class SubcenterArcFace(CosineHead):
    """Gives each class of ArcFace several centres, of which the nearest one counts.

    https://www.ecva.net/papers/eccv_2020/papers_ECCV/html/1445_ECCV_2020_paper.php

    Args:
        classes: The number of classes; labels are 0 to classes - 1.
        centres: The number of centres of each class.
        margin: The angle in radians, from 0 to pi.
        scale: The factor of the cosines.
        gradient: "exact", or "straight_through", which leaves the margin out of it as InsightFace
            does.
        **shared: The options of `CosineHead`, such as `label_smoothing` and `sample_rate`.

    Returns:
        A layer that takes embeddings [batch, dims] and labels [batch], and gives losses [batch].

    >>> head = SubcenterArcFace(classes=10, centres=2)
    >>> head.build((None, 4))
    >>> tuple(head.class_weights.shape)
    (20, 4)
    """

    def __init__(
        self,
        classes: int,
        centres: int = 3,
        margin: float = 0.5,
        scale: float = 64.0,
        gradient: str = "exact",
        **shared,
    ):
        if centres < 1:
            raise InputError(f"centres={centres} of subcenter_arcface has to be at least 1")
        super().__init__(classes, scale, gradient=gradient, **shared)
        self.centres = centres
        self.margin = checked_angle(margin, "subcenter_arcface")

    def own_cosine(self, cosine, strength):
        return angular(cosine, self.margin, self.gradient)

    def get_config(self):
        return {**super().get_config(), "centres": self.centres, "margin": self.margin}
