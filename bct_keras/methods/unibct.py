from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bct_keras import progress
from bct_keras.data.class_features import normalised
from bct_keras.data.class_store import OldClasses
from bct_keras.errors import InputError
from bct_keras.methods.bct import BCT
from bct_keras.methods.method import Training

BATCH_SIZE = 256


class UniBCT(BCT):
    """BCT with prototypes refined by what the new encoder sees: https://arxiv.org/abs/2203.01583

    No penalty at first; then at the beginning of each of refresh_epochs the training set is embedded with the new
    encoder as it is, and the prototypes become (class_features.refined_prototypes)

    prototype_c = mean of (1 - smoothing) (I - smoothing E)^-1 old,  E_ij = softmax(<v_i, v_j> / temperature)

    over the images i, j of class c, v their new embeddings. The released code takes the softmax over the columns,
    normalise="columns", which leaves the prototypes plain means; over the rows outliers lose weight.
    """

    def __init__(
        self,
        refresh_epochs: tuple = (10, 20),
        temperature: float = 0.05,
        smoothing: float = 0.9,
        normalise: str = "columns",
        scale: float = 1.0,
        weight: float = 1.0,
    ):
        super().__init__(scale, weight)
        if not refresh_epochs or any(type(epoch) is not int or epoch < 0 for epoch in refresh_epochs):
            raise InputError(f"refresh_epochs={refresh_epochs} has to name epochs, counted from 0, as in (10, 20)")
        if normalise not in ("columns", "rows"):
            raise InputError(f"normalise={normalise!r} of unibct has to be columns or rows")
        if not 0 <= smoothing < 1:
            raise InputError(f"smoothing={smoothing} of unibct has to be at least 0 and less than 1")
        self.refresh_epochs = sorted(refresh_epochs)
        self.refinement = {"temperature": temperature, "smoothing": smoothing, "normalise": normalise}

    def prepare(self, training: Training):
        super().prepare(training)
        if self.refresh_epochs[0] >= training.epochs:
            raise InputError(
                f"unibct would first refine its prototypes at epoch {self.refresh_epochs[0]}, and --epochs="
                f"{training.epochs}; give it earlier ones, such as refresh_epochs=({training.epochs // 3},)"
            )
        self.training = training

    def build(self, input_shape=None):
        super().build(input_shape)
        # A weight, so that a run that goes on knows what has been done.
        self.refreshes = self.add_weight(
            name="refreshes", shape=(), dtype="int32", initializer="zeros", trainable=False
        )

    def penalty(self, new, labels, batch, head):
        return tf.cast(self.refreshes > 0, tf.float32) * super().penalty(new, labels, batch, head)

    def callbacks(self):
        return [PrototypeRefresh(self)]


class PrototypeRefresh(keras.callbacks.Callback):
    """Refines the prototypes of UniBCT at the beginning of an epoch, unless that was done before a run broke off."""

    def __init__(self, method: UniBCT):
        super().__init__()
        self.method = method

    def on_epoch_begin(self, epoch, logs=None):
        due = sum(refresh_epoch <= epoch for refresh_epoch in self.method.refresh_epochs)
        if int(self.method.refreshes.numpy()) >= due:
            return
        model: Any = self.model
        training = self.method.training
        assert training.old is not None
        refined = OldClasses(training.old).refined(
            lambda folder: embed_shards(model.backbone, training, folder), **self.method.refinement
        )
        self.method.prototypes.assign(normalised(refined))
        self.method.refreshes.assign(due)


def embed_shards(backbone: keras.Model, training: Training, folder: Path) -> list[Path]:
    """New embeddings beside each image shard, as far as they are to be compatible."""
    run: Any = tf.function(lambda images: backbone(images, training=False), reduce_retracing=True)
    files = []
    with progress.bar("embedding with the new encoder", training.data.records) as done:
        for shard in training.data.shards:
            found = []
            for batch in training.data.batches(BATCH_SIZE, (shard,)):
                embeddings = np.asarray(run(batch["image"]), np.float32)
                found.append(embeddings[:, : training.compatible_dims])
                done.update(len(embeddings))
            files.append(folder / f"{shard.name}.npy")
            np.save(files[-1], np.concatenate(found))
    return files
