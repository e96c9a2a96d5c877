from pathlib import Path

import numpy as np
import tensorflow as tf

from bct_keras import artefacts
from bct_keras.data.embeddings import KIND as EMBEDDINGS_KIND
from bct_keras.encoders import HEAD_FILE
from bct_keras.errors import InputError
from bct_keras.methods.method import Method, Training, unit
from bct_keras.untrusted.arrays import read_arrays
from bct_keras.untrusted.json_files import field


class LwF(Method):
    """Learning without Forgetting, the old classifier's soft labels: https://arxiv.org/abs/1606.09282

    - weight * sum_c softmax_c(z(old) / temperature) log softmax_c(z(new) / temperature)

    z is the old classifier, frozen: W x + b as a softmax head leaves it, and scale * cos(W_c, x) where it has no b, as
    margin heads have none. It is read from old_head, by default head.npz beside the old encoder that made the
    embeddings.
    """

    needs = ("old_embedding",)

    def __init__(self, temperature: float = 2.0, weight: float = 1.0, scale: float = 64.0, old_head: str = ""):
        super().__init__()
        self.temperature = temperature
        self.weight = weight
        self.scale = scale
        self.old_head = old_head
        self.stored = None

    def prepare(self, training: Training):
        super().prepare(training)
        assert training.old is not None
        made = artefacts.read_manifest(training.old.folder, EMBEDDINGS_KIND)
        encoder = field(made, "encoder", str, training.old.folder / artefacts.MANIFEST)
        path = Path(self.old_head or Path(encoder).parent / HEAD_FILE)
        self.stored = read_head(path, training.compatible_dims)

    def build(self, input_shape=None):
        stored = self.prepared(self.stored)
        self.old_weights = self.constant("old_class_weights", stored["class_weights"])
        self.old_bias = self.constant("old_bias", stored["bias"]) if "bias" in stored else None

    def penalty(self, new, labels, batch, head):
        of_old = self.classified(batch["old_embedding"]) / self.temperature
        of_new = self.classified(new[:, : self.compatible_dims]) / self.temperature
        return self.weight * tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(of_old), of_new)

    def classified(self, embeddings: tf.Tensor) -> tf.Tensor:
        """[batch, old classes] logits"""
        weights = tf.convert_to_tensor(self.old_weights)
        if self.old_bias is not None:
            return tf.matmul(embeddings, weights, transpose_b=True) + self.old_bias
        return self.scale * tf.matmul(unit(embeddings), unit(weights), transpose_b=True)


def read_head(path: Path, dims: int) -> dict[str, np.ndarray]:
    try:
        found = read_arrays(path, "a head", ("class_weights",), ("bias",))
    except InputError as error:
        raise InputError(
            f"lwf needs the old encoder's head: {error}; train the old encoder with bct_keras, or give "
            "lwf(old_head=FILE.npz) with `class_weights` [classes, dims]"
        ) from None
    weights = found["class_weights"]
    if any(values.dtype.kind not in "biuf" for values in found.values()):
        raise InputError(f"{path}: a head holds numbers, and there are texts")
    if weights.ndim != 2 or weights.shape[1] != dims:
        raise InputError(f"{path}: `class_weights` has to be there, [classes, {dims}]")
    if "bias" in found and found["bias"].shape != weights.shape[:1]:
        raise InputError(f"{path}: `bias` has to have one value for each of {len(weights)} classes")
    return found
