from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras.methods.ract import Rivals, triplet

# By tensorflow-addons 0.23, margin 0.8, of 12 unit vectors, two of each class;
# golden/make_tensorflow_addons.py.
ADDONS = Path(__file__).parents[1] / "golden" / "tensorflow_addons.npz"


def test_triplet_loss_agrees_with_tensorflow_addons():
    """Compares with TripletHardLoss.

    That is of the farthest of its class, here the only other one, and the nearest of another (k =
    1).
    """
    with np.load(ADDONS) as stored:
        embeddings, labels = tf.constant(stored["embeddings"]), stored["labels"]
        loss, gradient = stored["triplet_hard/loss"], stored["triplet_hard/d_embeddings"]
    same_class = tf.constant(labels[:, None] == labels[None, :])
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        # Row 2c and row 2c + 1 are of class c: each is the other's positive.
        partners = tf.gather(embeddings, np.arange(12) ^ 1)
        found = tf.reduce_mean(
            triplet(embeddings, partners, Rivals([embeddings], same_class, 1), 0.8)
        )
    d_embeddings: Any = tape.gradient(found, embeddings)
    # There a distance is |x|^2 - 2 x y + |y|^2, here 2 - 2 x y: the same for unit vectors, but the
    # gradient of the first has a part along x less, which the normalisation before takes away from
    # both.
    along = [
        rows - np.sum(rows * embeddings, axis=1, keepdims=True) * embeddings
        for rows in (d_embeddings, gradient)
    ]
    np.testing.assert_allclose(found, loss, rtol=1e-5)
    np.testing.assert_allclose(along[0], along[1], rtol=1e-4, atol=1e-6)
