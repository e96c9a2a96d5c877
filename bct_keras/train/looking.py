"""What the embeddings of some images show after each epoch, for TensorBoard."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from bct_keras.vectors import normalised

if TYPE_CHECKING:
    from bct_keras.train.trainer import Run

IMAGES = 128


class Look:
    """Looks at the same images again and again: it costs a small forward pass an epoch.

    A collapse is seen in the cosine between identities, which goes to 1, and in the lengths.
    """

    def __init__(self, run: "Run"):
        self.run = run

    def __call__(self) -> dict[str, float]:
        """Returns the figures by name."""
        labels = self.batch["label"].numpy()
        model = self.run.model
        new = tf.cast(model.backbone(self.batch["image"], training=False), tf.float32)
        lengths = np.linalg.norm(new, axis=1)
        cosines = normalised(np.asarray(new)) @ normalised(np.asarray(new)).T
        others = labels[:, None] != labels[None]
        found = {
            "embedding/length": float(np.mean(lengths)),
            "embedding/length_deviation": float(np.std(lengths)),
        }
        if np.any(others):
            found["embedding/cosine_between_identities"] = float(np.mean(cosines[others]))
        if model.head.table is None:  # else its class weights are in pieces
            classes = np.argmax(model.head.scores(new), axis=1)
            found["head/accuracy"] = float(np.mean(classes == labels))
        return found

    @cached_property
    def batch(self) -> dict[str, Any]:
        """The first images of the data set, which are of many identities, and their labels."""
        return next(iter(self.run.data.batches(IMAGES).take(1)))
