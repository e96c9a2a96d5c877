"""What is put on top of a network that gives features of another width than the embedding."""

from typing import Any

import keras

from bct_keras import _keras
from bct_keras.backbones.iresnet import batch_norm

# What is put on top; a number follows where a layer of the network is called so.
POOLING, DENSE, NORM = ("new_pooling", "new_embedding", "new_norm")
ON_TOP = (POOLING, DENSE, NORM)


def has_new_layer(backbone: keras.Model) -> bool:
    """Tells whether an embedding layer was put on top of what was taken."""
    return any(layer.name.startswith(DENSE) for layer in backbone.layers)


def number_on_top(network: keras.Model) -> str:
    """Returns what follows the names of new layers, so that none within the network has them.

    Optimizers know a variable by its path, which begins with its layer's name.
    """
    taken_names = {layer.name for layer in _keras.layers_within(network)}
    number = ""
    count = 1
    while any(f"{name}{number}" in taken_names for name in ON_TOP):
        count += 1
        number = f"_{count}"
    return number


def with_embedding(features: Any, dims: int, number: str) -> tuple[Any, bool]:
    """Returns an embedding [batch, dims] of features, and whether a layer was put on top for it.

    Args:
        features: A symbolic output.
        dims: Of the embedding.
        number: What follows the names of new layers.
    """
    rank = len(features.shape)
    if rank == 2 and features.shape[-1] == dims:
        return features, False
    if rank == 4:
        features = keras.layers.GlobalAveragePooling2D(name=POOLING + number)(features)
    elif rank == 3:
        features = keras.layers.GlobalAveragePooling1D(name=POOLING + number)(features)
    start: Any = keras.initializers.HeNormal()
    layer = keras.layers.Dense(dims, use_bias=False, kernel_initializer=start, name=DENSE + number)
    # float32 whatever the precision policy
    return batch_norm(layer(features), name=NORM + number, dtype="float32"), True
