import math
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from bct_keras.adapters.adapter import Adapter, copied
from bct_keras.adapters.descent import Descent, train
from bct_keras.adapters.linear import Regression, checked_ridge, chosen_ridge, quality
from bct_keras.adapters.pairs import Division, Pairs
from bct_keras.errors import InputError

CLEARLY = 0.01  # of the mean average precision on held-out pairs


@keras.saving.register_keras_serializable("bct_keras")
class Residual(Adapter):
    """Adds to a linear map what a small network finds that no linear map can say.

    y = W'x + b + V'gelu(U'x sqrt(source dims) + c)

    W and b start as ridge regression has them, and V at 0. Then all are trained on pairs, until the
    held-out pairs gain no more.

    Args:
        source_dims: The dimensions of the embeddings that it takes.
        target_dims: The dimensions of those that it gives.
        hidden: The dimensions between U and V.
        seed: What U starts by.
        **model: The options of `keras.Model`.

    Example:
        >>> random = np.random.default_rng(0)
        >>> source = random.normal(size=(64, 3))
        >>> adapter = bct.adapters.fit("residual", source, np.abs(source), steps=20, hidden=8)
        >>> adapter.predict(source, verbose=0).shape
        (64, 3)
    """

    loss_name = ""  # of the loss that it was trained by
    held_out_losses: tuple[float, ...] = ()  # at each look

    def __init__(
        self, source_dims: int, target_dims: int, hidden: int = 1024, seed: int = 0, **model
    ):
        super().__init__(source_dims, target_dims, **model)
        if hidden < 1:
            raise InputError(f"hidden={hidden} has to be at least 1")
        self.hidden = hidden
        self.seed = seed
        self.line = keras.layers.Dense(target_dims, dtype="float32", name="line")
        initializer: Any = keras.initializers.GlorotUniform(seed)
        self.wide = keras.layers.Dense(
            hidden,
            activation="gelu",
            kernel_initializer=initializer,
            dtype="float32",
            name="wide",
        )
        self.narrow = keras.layers.Dense(
            target_dims,
            use_bias=False,
            kernel_initializer="zeros",
            dtype="float32",
            name="narrow",
        )
        self.build((None, source_dims))

    @classmethod
    def fitted(
        cls,
        pairs: Pairs,
        division: Division,
        seed: int,
        *,
        ridge: float | None = None,
        hidden: int = 1024,
        **options,
    ) -> "Residual":
        """Returns the adapter of these pairs.

        Args:
            pairs: All of them.
            division: The same pairs, some of them held out, which decide when to stop.
            seed: What the first weights and the batches go by.
            ridge: How much a large linear map costs; None: it is chosen.
            hidden: The dimensions between U and V.
            **options: Those of `Descent`.
        """
        plan = Descent(seed=seed, **options)
        if ridge is None:
            ridge = chosen_ridge(division)
        fitted = division.fitted
        start = Regression(fitted.source, fitted.target).solved(checked_ridge(ridge))
        trained = []
        for loss in losses_to_try(plan, pairs.labelled):
            adapter = cls(pairs.source.shape[1], pairs.target.shape[1], hidden, seed)
            adapter.line.set_weights([start.weights, start.bias])
            adapter.loss_name = loss
            adapter.held_out_losses = train(adapter, division, replace(plan, loss=loss))
            trained.append(adapter)
        return best_of(trained, division.held_out)

    def build(self, input_shape):
        self.line.build((None, self.source_dims))
        self.wide.build((None, self.source_dims))
        self.narrow.build((None, self.hidden))
        self.built = True

    def mapped(self, source):
        root = math.sqrt(self.source_dims)
        hidden = self.wide(source * root)
        residual = self.narrow(hidden)
        return self.line(source) + residual

    def mapped_by_layers(self, source):
        line = copied(self.line, "compatible_line")(source)
        wide = copied(self.wide, "compatible_wide")
        kernel, bias = wide.get_weights()
        wide.set_weights([kernel * math.sqrt(self.source_dims), bias])
        hidden = wide(source)
        residual = copied(self.narrow, "compatible_narrow")(hidden)
        return keras.layers.Add(name="compatible_sum")([line, residual])

    def get_config(self):
        return {**super().get_config(), "hidden": self.hidden, "seed": self.seed}


def losses_to_try(plan: Descent, labelled: bool) -> list[str]:
    """Returns the loss that the user names, or those to choose from, the simplest first."""
    if plan.loss is not None:
        return [plan.loss]
    return ["cosine", "gallerycontrast"] if labelled else ["cosine"]


def best_of(trained: list[Residual], held_out: Pairs) -> Residual:
    """Returns the first adapter that no later one clearly beats on held-out pairs."""
    best = trained[0]
    if len(trained) == 1:
        return best
    source = held_out.source.astype(np.float32)
    best_quality = quality(best.predict(source, verbose=0), held_out)
    for adapter in trained[1:]:
        reached = quality(adapter.predict(source, verbose=0), held_out)
        if reached > best_quality + CLEARLY:
            best, best_quality = adapter, reached
    return best
