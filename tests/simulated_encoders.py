"""Stored embeddings of made-up people, of whom each pair of encoders sees other things."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

PEOPLE, EACH, DIMS = 200, 6, 12
LABELS = np.repeat(np.arange(PEOPLE), EACH)
Encoders = dict[str, np.ndarray]


def person(random: np.random.Generator) -> np.ndarray:
    """What makes a person, the same for all items of one [items, DIMS]."""
    return random.normal(size=(PEOPLE, DIMS))[LABELS]


def noise(random: np.random.Generator, scale: float | np.ndarray) -> np.ndarray:
    return scale * random.normal(size=(len(LABELS), DIMS))


def turn(random: np.random.Generator) -> np.ndarray:
    """A rotation: no encoder has the coordinates of another one."""
    return np.linalg.qr(random.normal(size=(DIMS, DIMS)))[0]


def gallery_to_move(random: np.random.Generator) -> Encoders:
    """The old encoder sees some things far worse than others, which a map of the gallery makes
    smaller; queries that are mapped cannot.
    """
    people = person(random)
    scale = np.geomspace(0.3, 3.0, DIMS)
    return {
        "old": people + noise(random, scale),
        "new": (people + noise(random, 0.3)) @ turn(random),
    }


def queries_to_fuse(random: np.random.Generator) -> Encoders:
    """The old encoder sees half of what it knows of people alone; the new one sees the other half
    far better.
    """
    shared, of_old = person(random), person(random)
    both = [shared + noise(random, 0.9), of_old + noise(random, 0.9)]
    return {
        "old": np.concatenate(both, axis=1),
        "new": (shared + noise(random, 0.2)) @ turn(random),
    }


def strong_old(random: np.random.Generator) -> Encoders:
    """The old encoder is strong, and the new one knows other things, so that maps lose. One that
    was trained sees what the old one does, with less noise.
    """
    people, of_new = person(random), person(random)
    folded = np.tanh(2.5 * people @ turn(random))
    both = [0.5 * folded + noise(random, 0.2), of_new + noise(random, 0.3)]
    return {
        "old": people + noise(random, 0.6),
        "new": np.concatenate(both, axis=1),
        "trained": people + noise(random, 0.2),
    }


def no_better(random: np.random.Generator) -> Encoders:
    """The new encoder sees as much as the old one."""
    people = person(random)
    return {
        "old": people + noise(random, 0.8),
        "new": (people + noise(random, 0.85)) @ turn(random),
    }


def written(folder: Path, make: Callable[[np.random.Generator], Encoders]) -> list[str]:
    """Writes a .npz for each encoder; returns the flags that name them."""
    ids = np.array([f"item {row}" for row in range(len(LABELS))])
    named = []
    for name, embeddings in make(np.random.default_rng(0)).items():
        path = folder / f"{name}.npz"
        np.savez(path, embeddings=embeddings.astype(np.float32), ids=ids, labels=LABELS)
        named.append(f"--{name}={path}")
    return named
