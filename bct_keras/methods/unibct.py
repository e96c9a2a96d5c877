from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bct_keras import progress
from bct_keras.data.class_store import OldClasses
from bct_keras.errors import InputError
from bct_keras.methods.bct import BCT
from bct_keras.methods.method import Training

BATCH_SIZE = 256


class UniBCT(BCT):
    """BCT that begins late, with prototypes of another kind: https://arxiv.org/abs/2203.01583

    The penalty is BCT's, -log softmax_c(scale * <new / |new|, prototype_c>), and 0 before the first of refresh_epochs.
    At the beginning of each of these the prototypes become

    released  mean of the old embeddings of class c, at its own length: that length acts as the scale
    refined   mean of (1 - smoothing) (I - smoothing E)^-1 old over the images of class c, at length 1

    where E_ij = softmax over j of <v_i, v_j> / temperature, and v are the normalised embeddings of the training set by
    the new encoder as it is then. "refined" is the paper's idea: outliers lose weight. The code released with MixBCT
    has the softmax over i, which leaves the plain means whatever the graph, so "released" embeds nothing, and a second
    refresh changes nothing. Old embeddings of length 1, stored so or by an exported file, leave it no scale: give one.
    """

    def __init__(
        self,
        refresh_epochs: tuple = (10, 20),
        prototypes: str = "released",
        temperature: float = 0.05,
        smoothing: float = 0.9,
        scale: float = 1.0,
        weight: float = 1.0,
    ):
        super().__init__(scale, weight)
        if not refresh_epochs or any(type(epoch) is not int or epoch < 0 for epoch in refresh_epochs):
            raise InputError(f"refresh_epochs={refresh_epochs} has to name epochs, counted from 0, as in (10, 20)")
        if prototypes not in ("released", "refined"):
            raise InputError(f"prototypes={prototypes!r} of unibct has to be released or refined")
        if not 0 <= smoothing < 1:
            raise InputError(f"smoothing={smoothing} of unibct has to be at least 0 and less than 1")
        self.refresh_epochs = sorted(refresh_epochs)
        self.refined = prototypes == "refined"
        self.refinement = {"temperature": temperature, "smoothing": smoothing}

    def prepare(self, training: Training):
        super().prepare(training)
        if self.refresh_epochs[0] >= training.epochs:
            raise InputError(
                f"unibct would first refresh its prototypes at epoch {self.refresh_epochs[0]}, and --epochs="
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

    def new_prototypes(self, backbone: keras.Model) -> np.ndarray:
        """[classes, dims]"""
        assert self.training.old is not None
        old = OldClasses(self.training.old)
        if not self.refined:
            return old.feature("means")
        return old.refined(lambda folder: embed_shards(backbone, self.training, folder), **self.refinement)


class PrototypeRefresh(keras.callbacks.Callback):
    """Refreshes the prototypes of UniBCT at the beginning of an epoch, unless that was done before a run broke off."""

    def __init__(self, method: UniBCT):
        super().__init__()
        self.method = method

    def on_epoch_begin(self, epoch, logs=None):
        due = sum(refresh_epoch <= epoch for refresh_epoch in self.method.refresh_epochs)
        if int(self.method.refreshes.numpy()) >= due:
            return
        model: Any = self.model
        self.method.prototypes.assign(self.method.new_prototypes(model.backbone))
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
