import tensorflow as tf

from bct_keras import distribution
from bct_keras.errors import InputError
from bct_keras.methods.method import Method, unit


class RACT(Method):
    """Regression-alleviating training for hot refresh: https://arxiv.org/abs/2201.09724

    While a gallery is re-embedded it holds old and new embeddings, so the new query has to find the old embedding o_i
    of its own image before the k hardest negatives of both kinds, N_i:

    contrastive: -log(exp(<n_i, o_i> / t) / (exp(<n_i, o_i> / t) + sum over j in N_i of exp(<n_i, x_j> / t)))
    triplet:     sum over both kinds of mean over j of relu(|n_i - o_i| - |n_i - x_j| + margin)

    loss is "contrastive" or "triplet"; k = -1 takes all negatives, and new_negatives=False the old ones only.
    """

    needs = ("old_embedding",)

    def __init__(
        self,
        loss: str = "contrastive",
        k: int = 10,
        temperature: float = 0.05,
        margin: float = 0.8,
        new_negatives: bool = True,
        weight: float = 1.0,
    ):
        super().__init__()
        if loss not in LOSSES:
            raise InputError(f"loss={loss!r} of ract has to be one of {', '.join(LOSSES)}")
        if k == 0 or k < -1:
            raise InputError(f"k={k} of ract has to be at least 1, or -1 for all")
        self.loss, self.spread = LOSSES[loss], {"contrastive": temperature, "triplet": margin}[loss]
        self.k = k
        self.new_negatives = new_negatives
        self.weight = weight

    def penalty(self, new, labels, batch, head):
        new, old = self.compatible(new), unit(batch["old_embedding"])
        kinds = [distribution.gather_rows(old)]
        if self.new_negatives:
            kinds.append(distribution.gather_rows(new))
        same_class = labels[:, None] == distribution.gather_rows(labels)[None, :]
        return self.weight * self.loss(new, old, kinds, same_class, self.k, self.spread)


def contrastive(new, old, kinds: list[tf.Tensor], same_class: tf.Tensor, k: int, temperature: float) -> tf.Tensor:
    """[batch, dims] twice, each kind's negatives [rows, dims], [batch, rows] -> [batch]"""
    positive = tf.reduce_sum(new * old, axis=1, keepdims=True)
    hardest = [
        largest(tf.where(same_class, -1e9, tf.matmul(new, negatives, transpose_b=True)), k) for negatives in kinds
    ]
    logits = tf.concat([positive, *hardest], axis=1) / temperature
    return -tf.nn.log_softmax(logits, axis=1)[:, 0]


def triplet(new, old, kinds: list[tf.Tensor], same_class: tf.Tensor, k: int, margin: float) -> tf.Tensor:
    positive = root(2.0 - 2.0 * tf.reduce_sum(new * old, axis=1, keepdims=True))
    losses = []
    for negatives in kinds:
        distances = root(2.0 - 2.0 * tf.matmul(new, negatives, transpose_b=True))
        nearest = -largest(-tf.where(same_class, 1e9, distances), k)
        losses.append(tf.reduce_mean(tf.nn.relu(positive - nearest + margin), axis=1))
    return tf.add_n(losses)


LOSSES = {"contrastive": contrastive, "triplet": triplet}


def largest(values: tf.Tensor, k: int) -> tf.Tensor:
    """[batch, rows] -> [batch, k]"""
    if k == -1:
        return values
    return tf.math.top_k(values, tf.minimum(k, tf.shape(values)[1])).values


def root(squared: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.maximum(squared, 1e-12))
