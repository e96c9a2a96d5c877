import warnings
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from bct_keras.errors import InputError
from bct_keras.methods.bct import BCT
from bct_keras.methods.old_source import OldSource


@keras.saving.register_keras_serializable("bct_keras")
class UniBCT(BCT):
    """Begins BCT late, with prototypes of another kind.

    https://arxiv.org/abs/2203.01583

    The penalty is BCT's, -log softmax_c(scale * <new / |new|, prototype_c>), and 0 before the first
    of refresh_epochs. At the beginning of each of these the prototypes become

    released  mean of the old embeddings of class c, at its own length, which acts as the scale
    refined   mean of (1 - smoothing) (I - smoothing E)^-1 old over the images of c, at length 1

    where E_ij = softmax over j of <v_i, v_j> / temperature, and v are the normalised embeddings of
    the training set by the new encoder as it is then. "refined" is the paper's idea: outliers lose
    weight. The code released with MixBCT has the softmax over i, which leaves the plain means
    whatever the graph, so "released" embeds nothing, and a second refresh changes nothing. Old
    embeddings of length 1, stored so or by an exported file, leave it no scale: give one. Where all
    of them have it, and `scale` is 1, a warning says so.

    Args:
        refresh_epochs: At whose beginning the prototypes are made anew, counted from 0.
        prototypes: "released" or "refined".
        temperature: Of the graph.
        smoothing: How far embeddings are spread over the graph.
        scale: The factor of the products.
        weight: The factor of the penalty.
        **layer: The options of `keras.layers.Layer`.

    >>> method = UniBCT(refresh_epochs=(0,))
    >>> old = OldEmbeddings(2.0 * np.eye(2), labels=[0, 1])
    >>> method.prepare(old, Training(classes=2, compatible_dims=2))
    >>> method.build()
    >>> method.penalty(tf.eye(2), tf.constant([0, 1]), {}, None).numpy()  # before the first refresh
    array([0., 0.], dtype=float32)
    """

    old: OldSource | None = None
    refreshes: keras.Variable  # how many are done
    # The epochs of refreshes go by the length of the training, and are the user's.
    tuned: ClassVar = {
        "scale": (1.0, 8.0, 16.0, 32.0),
        "weight": (0.5, 1.0, 2.0, 4.0),
        "prototypes": ("released", "refined"),
    }

    def __init__(
        self,
        refresh_epochs: tuple = (10, 20),
        prototypes: str = "released",
        temperature: float = 0.05,
        smoothing: float = 0.9,
        scale: float = 1.0,
        weight: float = 1.0,
        **layer,
    ):
        super().__init__(scale, weight, **layer)
        bad = [epoch for epoch in refresh_epochs if type(epoch) is not int or epoch < 0]
        if not refresh_epochs or bad:
            raise InputError(
                f"refresh_epochs={refresh_epochs} has to name epochs, counted from 0, as in"
                " (10, 20)"
            )
        if prototypes not in ("released", "refined"):
            raise InputError(f"prototypes={prototypes!r} of unibct has to be released or refined")
        if not 0 <= smoothing < 1:
            raise InputError(
                f"smoothing={smoothing} of unibct has to be at least 0 and less than 1"
            )
        self.refresh_epochs = sorted(refresh_epochs)
        self.kind = prototypes  # `prototypes` is the weight
        self.temperature = temperature
        self.smoothing = smoothing

    def get_config(self):
        return {
            **keras.layers.Layer.get_config(self),
            "refresh_epochs": tuple(self.refresh_epochs),
            "prototypes": self.kind,
            "temperature": self.temperature,
            "smoothing": self.smoothing,
            "scale": self.scale,
            "weight": self.weight,
        }

    def prepare(self, old, training):
        super().prepare(old, training)
        self.old = old
        needs_length = self.kind == "released" and self.scale == 1.0
        if old is not None and needs_length and old.has_unit_length():
            warnings.warn(
                "all old embeddings have length 1, and unibct's released prototypes take their"
                " scale from the length: the penalty will hardly pull. Give embeddings as the old"
                " encoder makes them, or a scale, as in unibct(scale=30)",
                stacklevel=2,
            )

    def plan(self, epochs, steps):
        super().plan(epochs, steps)
        if self.refresh_epochs[0] >= epochs:
            earlier = f"such as refresh_epochs=({epochs // 3},)"
            raise InputError(
                f"unibct would first refresh its prototypes at epoch {self.refresh_epochs[0]}, and"
                f" the training has {epochs} epoch(s); give it earlier ones, {earlier}"
            )

    def build(self, input_shape=None):
        super().build(input_shape)
        # A weight, so that a run that goes on knows what has been done.
        self.refreshes = self.add_weight(
            name="refreshes", shape=(), dtype="int32", initializer="zeros", trainable=False
        )

    def penalty(self, new, labels, batch, head):
        begun = tf.cast(self.refreshes > 0, tf.float32)
        penalty = super().penalty(new, labels, batch, head)
        return begun * penalty

    def callbacks(self):
        return [PrototypeRefresh(self)]

    def new_prototypes(self, backbone: keras.Model) -> np.ndarray:
        """Returns [classes, old dims], from the encoder as it is now."""
        if self.old is None:
            raise InputError(
                "unibct refreshes its prototypes from the old embeddings: give compile old=..."
                " again"
            )
        if self.kind == "released":
            return self.of_classes(self.old.feature("means"))
        embed = embedding_by(backbone, self.compatible_dims)
        refined = self.old.refined_prototypes(embed, self.temperature, self.smoothing)
        return self.of_classes(refined)


class PrototypeRefresh(keras.callbacks.Callback):
    """Refreshes UniBCT's prototypes as an epoch begins, unless a run that broke off has done so."""

    def __init__(self, method: UniBCT):
        super().__init__()
        self.method = method

    def on_epoch_begin(self, epoch, logs=None):
        method = self.method
        due = sum(refresh_epoch <= epoch for refresh_epoch in method.refresh_epochs)
        done = int(method.refreshes.numpy())
        if done >= due:
            return
        model: Any = self.model
        prototypes = method.new_prototypes(model.backbone)
        method.prototypes.assign(prototypes)
        method.refreshes.assign(due)


def embedding_by(backbone: keras.Model, dims: int | None):
    """Returns a function that embeds a batch of images: the first `dims` coordinates."""
    run: Any = tf.function(lambda images: backbone(images, training=False), reduce_retracing=True)

    def embed(images) -> np.ndarray:
        embeddings = run(images)
        found = np.asarray(embeddings, np.float32)
        return found[:, :dims]

    return embed
