"""The recipe of a small training, which tests change by what they are about."""

from typing import Any

from bct_keras.train.recipe import Recipe


def small_recipe(**changes: Any) -> Recipe:
    """Returns a recipe whose network is traced in a moment."""
    parts: dict[str, Any] = {
        "backbone": "tiny_backbones:one_convolution",
        "dims": 8,
        "head": "arcface",
        "method": "independent",
        "optimizer": "sgd",
        "schedule": "cosine",
        "learning_rate": 0.01,
        "batch_size": 8,
        "epochs": 1,
        "mirror": False,
        "seed": 0,
    }
    return Recipe(**(parts | changes))
