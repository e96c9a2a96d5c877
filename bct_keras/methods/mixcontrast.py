from bct_keras import distribution
from bct_keras.methods.method import unit
from bct_keras.methods.mixbct import MixBCT
from bct_keras.methods.ract import contrastive


class MixContrast(MixBCT):
    """MixBCT whose new embeddings also have to find their own old one among those of the batch.

    penalty_i = -weight log(exp(<n_i, o_i> / t) / sum over j of exp(<n_i, o_j> / t)),  j = i or of another class

    The mix sets where the classes lie; this is the search itself, a new query in a small old gallery. Our own, with
    no paper behind it: the README's tables tell what it gains.
    """

    def __init__(
        self,
        mix_ratio: float = 0.3,
        weight: float = 4.0,
        temperature: float = 0.1,
        credible: str = "rows",
        seed: int = 0,
    ):
        super().__init__(mix_ratio, credible, seed)
        self.weight = weight
        self.temperature = temperature

    def penalty(self, new, labels, batch, head):
        new, old = self.compatible(new), unit(batch["old_embedding"])
        same_class = labels[:, None] == distribution.gather_rows(labels)[None, :]
        negatives = [distribution.gather_rows(old)]
        return self.weight * contrastive(new, old, negatives, same_class, k=-1, temperature=self.temperature)
