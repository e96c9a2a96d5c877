from dataclasses import dataclass

import keras
import numpy as np

from bct_keras.adapters.adapter import Adapter
from bct_keras.adapters.pairs import Division, Pairs
from bct_keras.errors import InputError
from bct_keras.methods.outputs import copied
from bct_keras.metrics.baselines import procrustes_map
from bct_keras.metrics.neighbours import NEAREST, nearest, neighbours_kept
from bct_keras.metrics.ranking import mean_average_precision
from bct_keras.vectors import normalised

# What is tried for the ridge, times the mean variance that a source coordinate adds up to.
RIDGES = (1e-6, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
SEARCHED = 2048  # held-out rows at most, whose search chooses it


@keras.saving.register_keras_serializable("bct_keras")
class Linear(Adapter):
    """Maps one embedding space to another by ridge regression, in closed form.

    y = W'x + b, with W and b of the least sum of |W'x_i + b - y_i|^2 + ridge |W - R|^2

    R is the orthogonal matrix that comes nearest, as Procrustes finds it: a large ridge gives a
    rotation, which keeps all that the source tells apart, and a small one least squares.

    Args:
        source_dims: The dimensions of the embeddings that it takes.
        target_dims: The dimensions of those that it gives.
        **model: The options of `keras.Model`.

    Example:
        >>> random = np.random.default_rng(0)
        >>> source = random.normal(size=(50, 3))
        >>> target = source @ [[2, 0, 0], [0, 0, 1], [0, 1, 0]]
        >>> adapter = bct.adapters.fit("linear", source, target, ridge=1e-3)
        >>> adapter.predict(np.array([[0.0, 5.0, 0.0]]), verbose=0).shape
        (1, 3)
    """

    def __init__(self, source_dims: int, target_dims: int, **model):
        super().__init__(source_dims, target_dims, **model)
        self.line = keras.layers.Dense(target_dims, dtype="float32", name="line")
        self.build((None, source_dims))

    @classmethod
    def fitted(
        cls, pairs: Pairs, division: Division, seed: int, *, ridge: float | None = None
    ) -> "Linear":
        """Returns the adapter of these pairs.

        Args:
            pairs: All of them, which the map is fitted on in the end.
            division: The same pairs, some of them held out, which choose the ridge.
            seed: Nothing goes by it.
            ridge: How much it costs to leave the rotation, as scikit-learn's alpha; None: it is
                chosen.
        """
        if ridge is None:
            ridge = chosen_ridge(division) * len(pairs) / len(division.fitted)
        adapter = cls(pairs.source.shape[1], pairs.target.shape[1])
        found = Regression(pairs.source, pairs.target).solved(checked_ridge(ridge))
        adapter.line.set_weights([found.weights, found.bias])
        return adapter

    def build(self, input_shape):
        self.line.build((None, self.source_dims))
        self.built = True

    def mapped(self, source):
        return self.line(source)

    def mapped_by_layers(self, source):
        return copied(self.line, "compatible_line")(source)


@dataclass(frozen=True)
class Map:
    """What ridge regression finds: y = x weights + bias."""

    weights: np.ndarray  # [source dims, target dims]
    bias: np.ndarray  # [target dims]

    def of(self, source: np.ndarray) -> np.ndarray:
        """Returns [n, target dims]."""
        return source @ self.weights + self.bias


class Regression:
    """Ridge regression towards a rotation, for any number of ridges once X'X is taken apart.

    Args:
        source: X, [n, source dims]
        target: Y, [n, target dims]

    Example:
        >>> line = Regression(np.array([[0.0], [2.0]]), np.array([[1.0], [5.0]]))
        >>> found = line.solved(0.0)
        >>> found.weights, found.bias
        (array([[2.]]), array([1.]))
        >>> line.solved(2.0).weights  # 1 + (4 - 2) / (2 + 2), from the sums of x y and of x x
        array([[1.5]])
    """

    def __init__(self, source: np.ndarray, target: np.ndarray):
        self.source_mean = source.mean(axis=0)
        self.target_mean = target.mean(axis=0)
        centred = source - self.source_mean
        # X'X = Q diag(spread) Q'
        self.spread, self.axes = np.linalg.eigh(centred.T @ centred)
        aim = target - self.target_mean
        self.turn = procrustes_map(centred, aim)  # R
        self.products = self.axes.T @ (centred.T @ (aim - centred @ self.turn))

    def solved(self, ridge: float) -> Map:
        """Returns the map: W = R + Q (diag(spread) + ridge)^-1 Q' X'(Y - XR)."""
        divisor = self.spread + ridge
        # An axis along which no source differs has nothing to say.
        tells = divisor > 1e-12 * self.spread[-1]
        factor = np.where(tells, 1 / np.where(tells, divisor, 1.0), 0.0)
        weights = self.turn + self.axes @ (factor[:, None] * self.products)
        return Map(weights, self.target_mean - self.source_mean @ weights)


def chosen_ridge(division: Division) -> float:
    """Returns the ridge whose map is the best on held-out pairs, as `quality` has it."""
    fitted, held_out = division.fitted, judged(division.held_out)
    regression = Regression(fitted.source, fitted.target)
    unit_of_ridge = regression.spread.mean() or 1.0
    best_ridge, best_quality = 0.0, -np.inf
    for factor in RIDGES:
        ridge = factor * unit_of_ridge
        found = normalised(regression.solved(ridge).of(held_out.source))
        reached = quality(found, held_out)
        if reached > best_quality:
            best_ridge, best_quality = ridge, reached
    return best_ridge


def judged(pairs: Pairs) -> Pairs:
    """Returns `SEARCHED` of the pairs at most, in an order that chance has made."""
    order = np.random.default_rng(0).permutation(len(pairs))
    return pairs.rows(order[:SEARCHED])


def quality(found: np.ndarray, pairs: Pairs) -> float:
    """Returns how well what an adapter found does the work of the targets.

    Every other row is searched in the targets of those between. Where there are labels, it is
    the mean average precision; without them, how many of the nearest that the newer encoder finds
    among its own embeddings are found. The cosine with one's own target would not do: a new encoder
    crowds the classes that it was trained on so much that a map fits even the old encoder's errors
    on them.

    Args:
        found: [n, target dims] at length 1.
        pairs: The pairs of these rows, as `judged` gives them.
    """
    rows = np.arange(len(pairs))
    query, gallery = rows[::2], rows[1::2]
    if not len(gallery):
        return float(np.sum(found * pairs.target, axis=1).mean())
    if len(np.intersect1d(pairs.labels[query], pairs.labels[gallery])):
        scores = found[query] @ pairs.target[gallery].T
        return mean_average_precision(scores, pairs.labels[query], pairs.labels[gallery])
    k = min(NEAREST, max(1, len(gallery) // 4))
    truth = nearest(pairs.newer[query], pairs.newer[gallery], k)
    kept = neighbours_kept(truth, nearest(found[query], pairs.target[gallery], k))
    return float(kept.mean())


def checked_ridge(ridge: float) -> float:
    """Returns the ridge, or raises where it is none."""
    if not 0 <= ridge < np.inf:
        raise InputError(f"ridge={ridge:g} has to be a number from 0 on")
    return ridge
