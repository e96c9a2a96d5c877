import tensorflow as tf

from bct_keras.errors import InputError
from bct_keras.heads.arcface import ArcFace
from bct_keras.heads.cosine import divided
from bct_keras.heads.cross_entropy import places_of


class SubcenterArcFace(ArcFace):
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
    ):
        super().__init__(classes, dims, margin, scale, gradient, label_smoothing, filter_above)
        if centres < 1:
            raise InputError(f"centres={centres} of subcenter_arcface has to be at least 1")
        self.centres = centres

    def build(self, input_shape=None):
        # Row c * classes + j is centre c of class j.
        self.class_weights = self.add_weight(
            shape=(self.centres * self.classes, self.dims), initializer=self.initializer(), name="class_weights"
        )

    def logits(self, embeddings, labels):
        directions, lengths = divided(embeddings)
        every, _ = divided(tf.convert_to_tensor(self.class_weights))
        cosine = tf.clip_by_value(tf.matmul(directions, every, transpose_b=True), -1.0, 1.0)
        # cos(x, class j) = max over c of cos(x, w_cj)
        nearest = tf.reduce_max(tf.reshape(cosine, (-1, self.centres, self.classes)), axis=1)
        return self.form.logits(nearest, places_of(labels), self.strength(lengths))

    def losses(self, embeddings, labels):
        logits = self.logits(embeddings, labels)
        smoothing = self.form.smoothing
        # loss = (1 - e) CE(y) + e (log sum_j exp z_j - mean_j z_j)
        own = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        if not smoothing:
            return own
        spread = tf.reduce_logsumexp(logits, axis=1) - tf.reduce_mean(logits, axis=1)
        return (1.0 - smoothing) * own + smoothing * spread
