import keras

from bct_keras.adapters.adapter import Adapter
from bct_keras.adapters.pairs import Division, Pairs
from bct_keras.methods.outputs import copied
from bct_keras.metrics.baselines import procrustes_map


@keras.saving.register_keras_serializable("bct_keras")
class Procrustes(Adapter):
    """Turns one embedding space onto another: distances within it stay as they are.

    y = W'x, with W the orthogonal matrix of the least sum of |W'x_i - y_i|^2

    Of different dimensions, W has orthonormal columns or rows.

    Args:
        source_dims: The dimensions of the embeddings that it takes.
        target_dims: The dimensions of those that it gives.
        **model: The options of `keras.Model`.

    Example:
        >>> random = np.random.default_rng(0)
        >>> source = random.normal(size=(20, 3))
        >>> turned = source @ [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
        >>> adapter = bct.adapters.fit("procrustes", source, turned)
        >>> adapter.predict(np.array([[0.0, 5.0, 0.0]]), verbose=0).round(3) + 0.0
        array([[0., 0., 1.]], dtype=float32)
    """

    def __init__(self, source_dims: int, target_dims: int, **model):
        super().__init__(source_dims, target_dims, **model)
        self.turn = keras.layers.Dense(target_dims, use_bias=False, dtype="float32", name="turn")
        self.build((None, source_dims))

    @classmethod
    def fitted(cls, pairs: Pairs, division: Division, seed: int) -> "Procrustes":
        """Returns the adapter of these pairs; it has nothing to choose on held-out ones."""
        source_dims = pairs.source.shape[1]
        target_dims = pairs.target.shape[1]
        adapter = cls(source_dims, target_dims)
        turn = procrustes_map(pairs.source, pairs.target)
        adapter.turn.set_weights([turn])
        return adapter

    def build(self, input_shape):
        self.turn.build((None, self.source_dims))
        self.built = True

    def mapped(self, source):
        return self.turn(source)

    def mapped_by_layers(self, source):
        return copied(self.turn, "compatible_turn")(source)
