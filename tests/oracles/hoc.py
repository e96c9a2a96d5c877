"""HOC's loss, of which GalleryContrast's own-image term is made.

HOC_i = log(sum over j of other classes of exp(s_ij) + m_i) - s_ii, where m_i counts i's class in
the batch, i itself too. Ours, p_i = log(1 + sum over j of other classes of exp(s_ij - s_ii)), has
the positive in its sum in the place of m_i; so HOC_i = log(exp(p_i) - 1 + m_i exp(-s_ii)). HOC's
anchors are the old embeddings and its rivals the new ones, so each is given to ours in the other's
place. What is not of this term is not ours, and is left out.
"""

import numpy as np
import tensorflow as tf

from bct_keras.methods.gallerycontrast import GalleryContrast

TOLERANCE = 1e-5
INPUTS = {"mu", "labels", "targets", "classes", "new_features", "old_features"}
HEAD = "HOC's fixed head and its cross entropy: no head of ours"
LEFT_OUT = {
    "simplex/": HEAD,
    "lambda": HEAD,
    "logits": HEAD,
    "cross_entropy": HEAD,
    "d_new_features_cross_entropy": HEAD,
    "total": HEAD,
    "d_new_features_total": HEAD,
    "d_new_features_hoc": "its rivals are new embeddings, which learn; ours are old ones",
}


def check(stored):
    anchors, own = stored["old_features"], stored["new_features"]
    method = GalleryContrast(
        queue=len(anchors), temperature=1 / float(stored["mu"]), weight=1.0, own=1.0
    )
    method.compatible_dims = anchors.shape[1]
    method.build()
    labels = tf.constant(stored["targets"], tf.int32)
    ours = method.penalty(
        tf.constant(anchors), labels, {"old_embedding": tf.constant(own)}, None
    ).numpy()
    same_class = stored["targets"][:, None] == stored["targets"][None, :]
    unit_anchors, unit_own = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (anchors, own)
    )
    own_scores = float(stored["mu"]) * np.sum(unit_anchors * unit_own, axis=1)
    hoc = np.log(np.expm1(ours.astype(np.float64)) + same_class.sum(1) * np.exp(-own_scores)).mean()
    return INPUTS, {"hoc": (hoc, TOLERANCE), "same_class": (same_class, 0.0)}
