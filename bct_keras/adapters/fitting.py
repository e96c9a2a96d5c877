"""Fits an adapter of any kind, by its name."""

import inspect
from typing import Any

from bct_keras.adapters.adapter import Adapter
from bct_keras.adapters.descent import Descent
from bct_keras.adapters.linear import Linear
from bct_keras.adapters.pairs import QUERY, checked_pairs, divided
from bct_keras.adapters.procrustes import Procrustes
from bct_keras.adapters.residual import Residual
from bct_keras.errors import InputError

HELD_OUT = 0.2  # of the classes
ADAPTERS = {"linear": Linear, "procrustes": Procrustes, "residual": Residual}


def fit(
    kind: str,
    source: Any,
    target: Any,
    labels: Any = None,
    *,
    direction: str = QUERY,
    held_out: float = HELD_OUT,
    seed: int = 0,
    **options: Any,
) -> Adapter:
    """Fits a small map from the embeddings of one encoder, the source, to those of another.

    New queries for an old gallery: the source is the new encoder, the target the old one. An old
    gallery for new queries: the other way round.

    Args:
        kind: "procrustes", "linear" or "residual".
        source: [n, source dims] embeddings of any length.
        target: [n, target dims] embeddings of the same items in the same order.
        labels: [n] the class of each item, as numbers or names. Without them every item is a class
            of its own.
        direction: "query" where the source is the newer encoder, and "gallery" where the target is.
            Without labels held-out items are judged by the neighbours that the newer one finds.
        held_out: The share of the classes that no step is taken on. They choose the ridge, and when
            to stop.
        seed: What is drawn goes by it: which classes are held out, the first weights, the batches.
        **options: For "linear" `ridge`, for "residual" `ridge`, `hidden` and what `Descent` has.

    Returns:
        A Keras model. `predict` takes [n, source dims] and gives [n, target dims] of length 1.

    Example:
        >>> random = np.random.default_rng(0)
        >>> new = random.normal(size=(100, 8))
        >>> old = new[:, :4]
        >>> adapter = bct.adapters.fit("linear", new, old)
        >>> adapter.predict(new, verbose=0).shape
        (100, 4)
    """
    if kind not in ADAPTERS:
        raise InputError(f"{kind!r} is no kind of adapter: there are {', '.join(ADAPTERS)}")
    check_options(kind, options)
    pairs = checked_pairs(source, target, labels, direction)
    division = divided(pairs, held_out, seed)
    return ADAPTERS[kind].fitted(pairs, division, seed, **options)


def check_options(kind: str, options: dict[str, Any]) -> None:
    """Raises for an option that a kind of adapter does not have."""
    known = option_names(kind)
    for name in options:
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise InputError(f"the adapter {kind} has no option {name}: {has}")


def option_names(kind: str) -> list[str]:
    """Returns the options that `fit` passes on to a kind of adapter.

    Example:
        >>> option_names("linear")
        ['ridge']
    """
    names = []
    for parameter in inspect.signature(ADAPTERS[kind].fitted).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            names.append(parameter.name)
        elif parameter.kind is parameter.VAR_KEYWORD:
            names += [name for name in inspect.signature(Descent).parameters if name != "seed"]
    return names
