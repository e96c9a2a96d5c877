import math
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from bct_keras.adapters.adapter import Adapter, unit
from bct_keras.adapters.descent import Descent, train
from bct_keras.adapters.linear import Map, Regression, checked_ridge, chosen_ridge, judged, quality
from bct_keras.adapters.pairs import Division, Pairs
from bct_keras.errors import InputError
from bct_keras.methods.outputs import copied

CLEARLY = 0.003  # of what `quality` gives for held-out pairs
SHARES = (0.5, 1.0)  # what is tried for the share of the trained map


@keras.saving.register_keras_serializable("bct_keras")
class Residual(Adapter):
    """Adds to a linear map what a small network finds that no linear map can say.

    y = W'x + b + V'gelu(U'x sqrt(source dims) + c)

    W and b start as ridge regression has them, and V at 0. Then all are trained on pairs, until the
    held-out pairs gain no more. With a `share` below 1 the line that it started from goes on to
    count: its answer and the trained one, at length 1, are averaged. Each errs in its own way where
    an item is unlike those that were fitted on.

    Args:
        source_dims: The dimensions of the embeddings that it takes.
        target_dims: The dimensions of those that it gives.
        hidden: The dimensions between U and V.
        seed: What U starts by.
        share: How much the trained map counts, against the line that it started from.
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
        self,
        source_dims: int,
        target_dims: int,
        hidden: int = 1024,
        seed: int = 0,
        share: float = 1.0,
        **model,
    ):
        super().__init__(source_dims, target_dims, **model)
        if hidden < 1:
            raise InputError(f"hidden={hidden} has to be at least 1")
        if not 0 <= share <= 1:
            raise InputError(f"share={share:g} has to be between 0 and 1")
        self.hidden = hidden
        self.seed = seed
        self.share = share
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
        if share < 1:
            self.first_line = keras.layers.Dense(
                target_dims, trainable=False, dtype="float32", name="first_line"
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
        share: float | None = None,
        **options,
    ) -> "Residual":
        """Returns the adapter of these pairs.

        Args:
            pairs: All of them.
            division: The same pairs, some of them held out, which decide when to stop.
            seed: What the first weights and the batches go by.
            ridge: How much it costs the line to leave the rotation; None: it is chosen.
            hidden: The dimensions between U and V.
            share: How much the trained map counts; None: it is chosen.
            **options: Those of `Descent`.
        """
        plan = Descent(seed=seed, **options)
        if ridge is None:
            ridge = chosen_ridge(division)
        fitted = division.fitted
        start = Regression(fitted.source, fitted.target).solved(checked_ridge(ridge))
        candidates = []
        for loss in losses_to_try(plan, pairs.labelled):
            trained = cls(pairs.source.shape[1], pairs.target.shape[1], hidden, seed)
            trained.line.set_weights([start.weights, start.bias])
            trained.loss_name = loss
            trained.held_out_losses = train(trained, division, replace(plan, loss=loss))
            for each in SHARES if share is None else [share]:
                candidates.append(trained.averaged(start, each))
        return best_of(candidates, division.held_out)

    def averaged(self, start: Map, share: float) -> "Residual":
        """Returns this map where its share is 1, or one that averages it with its start."""
        if share == 1:
            return self
        found = type(self)(self.source_dims, self.target_dims, self.hidden, self.seed, share)
        for name in ("line", "wide", "narrow"):
            getattr(found, name).set_weights(getattr(self, name).get_weights())
        found.first_line.set_weights([start.weights, start.bias])
        found.loss_name, found.held_out_losses = self.loss_name, self.held_out_losses
        return found

    def build(self, input_shape):
        self.line.build((None, self.source_dims))
        self.wide.build((None, self.source_dims))
        self.narrow.build((None, self.hidden))
        if self.share < 1:
            self.first_line.build((None, self.source_dims))
        self.built = True

    def mapped(self, source):
        root = math.sqrt(self.source_dims)
        hidden = self.wide(source * root)
        trained = self.line(source) + self.narrow(hidden)
        if self.share == 1:
            return trained
        first = self.first_line(source)
        return self.share * unit(trained) + (1.0 - self.share) * unit(first)

    def mapped_by_layers(self, source):
        line = copied(self.line, "compatible_line")(source)
        wide = copied(self.wide, "compatible_wide")
        kernel, bias = wide.get_weights()
        wide.set_weights([kernel * math.sqrt(self.source_dims), bias])
        hidden = wide(source)
        residual = copied(self.narrow, "compatible_narrow")(hidden)
        trained = keras.layers.Add(name="compatible_sum")([line, residual])
        if self.share == 1:
            return trained
        first = copied(self.first_line, "compatible_first_line")(source)
        unit_first = keras.layers.UnitNormalization(name="compatible_unit_first")(first)
        unit_trained = keras.layers.UnitNormalization(name="compatible_unit_trained")(trained)
        return self.share * unit_trained + (1.0 - self.share) * unit_first

    def get_config(self):
        own = {"hidden": self.hidden, "seed": self.seed, "share": self.share}
        return {**super().get_config(), **own}


def losses_to_try(plan: Descent, labelled: bool) -> list[str]:
    """Returns the loss that the user names, or those to choose from, the simplest first."""
    if plan.loss is not None:
        return [plan.loss]
    return ["cosine", "gallerycontrast"] if labelled else ["cosine"]


def best_of(candidates: list[Residual], held_out: Pairs) -> Residual:
    """Returns the best candidate on held-out pairs.

    Another loss is taken only where it is clearly better than those before it.
    """
    best = candidates[0]
    if len(candidates) == 1:
        return best
    judges = judged(held_out)
    source = tf.constant(judges.source, tf.float32)
    best_quality = quality(best(source).numpy(), judges)
    for adapter in candidates[1:]:
        reached = quality(adapter(source).numpy(), judges)
        needed = CLEARLY if adapter.loss_name != best.loss_name else 0.0
        if reached > best_quality + needed:
            best, best_quality = adapter, reached
    return best
